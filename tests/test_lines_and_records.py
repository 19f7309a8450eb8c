"""What workers write and log, as the driver shows it: labels, colours, records, repeats, bars."""

import contextlib
import fcntl
import io
import logging
import os
import pty
import re
import subprocess
import sys
import textwrap
import threading

import pytest

from skate import _display

pytestmark = pytest.mark.processes("what workers write")


def run(program, *, terminal=False, **variables):
    """Runs a program; its stdout and stderr, or what a terminal was given."""
    argv = [sys.executable, "-c", textwrap.dedent(program)]
    env = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, **variables}
    if not terminal:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=50)
        return done.stdout, done.stderr
    ours, theirs = pty.openpty()
    child = subprocess.Popen(argv, env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # the terminal has no writer any more
            break
        if not data:
            break
        seen += data
    os.close(ours)
    assert child.wait() == 0, seen
    return seen.decode()


PRINTS = """
    import skate

    @skate.remote
    def speaks():
        print("hello")

    skate.init(num_cpus=1)
    skate.get(speaks.remote())
"""


def test_on_a_terminal_the_label_has_a_colour_and_the_line_has_none():
    seen = run(PRINTS, terminal=True)
    assert re.search(r"\x1b\[\d+m\(speaks pid=\d+\)\x1b\[0m hello", seen)


@pytest.mark.parametrize("off", [{"NO_COLOR": "1"}, {"SKATE_COLOR_PREFIX": "0"}])
def test_colours_can_be_switched_off(off):
    assert re.match(r"\(speaks pid=\d+\) hello", run(PRINTS, terminal=True, **off))


def test_in_a_pipe_there_are_no_colours():
    assert re.fullmatch(r"\(speaks pid=\d+\) hello\n", run(PRINTS)[0])


def test_log_to_driver_can_be_switched_off_from_outside():
    assert run(PRINTS, SKATE_LOG_TO_DRIVER="0") == ("", "")


class Full(io.TextIOWrapper):
    """The end of a pipe that does not block. Nobody reads before somebody asks which file it is."""

    def __init__(self, buffering):
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
        end = os.fdopen(theirs, "wb", buffering)
        super().__init__(end, encoding="ascii", write_through=not buffering)
        self.lines = []
        self.reader = threading.Thread(target=self.read_all, args=[ours])

    def read_all(self, descriptor):
        with os.fdopen(descriptor) as end:
            self.lines.extend(end)

    def fileno(self):
        if not self.reader.ident:
            self.reader.start()
        return super().fileno()


@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_pipe_that_does_not_block_gets_all_lines(monkeypatch, buffering):
    # What it had no room for was lost.
    stream = Full(buffering)
    monkeypatch.setattr(sys, "stdout", stream)
    display = _display.Display()
    lines = [f"{number} {'x' * 60} \u20ac" for number in range(600)]
    for line in lines:
        display.show(_display.LINE, (False, 1, "f", line))
    display.close()
    stream.fileno()
    with contextlib.suppress(BlockingIOError):
        stream.close()
    stream.reader.join()
    assert stream.lines == [f"(f pid=1) {line[:-1]}\\u20ac\n" for line in lines]


class Reluctant(io.RawIOBase):
    """A pipe in which each write is interrupted by a signal: it takes a part."""

    def __init__(self):
        self.taken = b""

    def writable(self):
        return True

    def write(self, data):
        part = bytes(data)[:100]
        self.taken += part
        return len(part)


def test_what_one_write_leaves_without_a_buffer_comes_all_the_same(monkeypatch):
    # As in `python -u`: of 256 lines those were lost that the write had no time for.
    stream = io.TextIOWrapper(raw := Reluctant(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    display = _display.Display()
    lines = [f"{number} \u20ac" for number in range(300)]
    for line in lines:
        display.show(_display.LINE, (False, 1, "f", line))
    display.close()
    shown = [f"(f pid=1) {line[:-1]}\\u20ac" for line in lines]
    assert raw.taken.decode().splitlines() == shown


SPEAKERS = """
import skate
from skate import _repeats

_repeats._WINDOW_S = 1_000

@skate.remote
class Speaker:
    def speak(self):
        print("loading", flush=True)

skate.init(num_cpus=1)
speakers = [Speaker.remote() for _ in range(3)]
skate.get([each.speak.remote() for each in speakers])
"""


def test_of_lines_that_several_workers_write_alike_one_is_shown_and_their_number():
    out, _ = run(SPEAKERS)
    assert re.fullmatch(
        r"\(Speaker pid=\d+\) loading\n"
        r"\(Speaker pid=\d+\) loading \[repeated 2x across cluster\]\n",
        out,
    )
    out, _ = run(SPEAKERS, RAY_DEDUP_LOGS="0")
    assert out.count("loading\n") == 3


def test_the_end_does_not_wait_for_lines_that_may_be_repeated_again():
    """It span until 5 s after the first of them."""
    ends = """
import sys, time
began = time.process_time()
skate.shutdown()
print(time.process_time() - began, file=sys.stderr)
"""
    out, err = run(SPEAKERS + ends)
    assert "loading [repeated 2x across cluster]" in out  # it would be lost with who still waits
    assert float(err) < 1


def test_of_a_line_that_is_written_over_and_over_the_last_state_is_shown():
    program = r"""
        import sys
        import skate

        @skate.remote
        def bar():
            for n in range(4):
                print(f"\r{n}/3", end="", file=sys.stderr)
            print(file=sys.stderr)

        skate.get(bar.remote())
    """
    assert re.fullmatch(r"\(bar pid=\d+\) 3/3\n", run(program)[1])


@pytest.fixture
def speaks(fresh):
    """A session, and a task that logs."""
    fresh.init(num_cpus=1)

    @fresh.remote
    def speaks(level, text, *args, **extra):
        logger = logging.getLogger("a.library")
        try:
            raise ValueError(text)
        except ValueError:
            logger.log(level, text, *args, extra=extra, exc_info=level >= logging.ERROR)
        return os.getpid()

    return speaks


def test_records_of_workers_reach_the_handlers_of_the_driver_with_their_level(
    fresh, speaks, caplog
):
    pid = fresh.get(speaks.remote(logging.WARNING, "careful: %d of %s", 1, "many", job="nightly"))
    fresh.get(speaks.remote(logging.ERROR, "broken"))
    fresh.shutdown()
    first, second = caplog.records
    assert (first.name, first.levelno, first.message) == ("a.library", 30, "careful: 1 of many")
    assert (first.process, first.processName, first.job) == (pid, "speaks", "nightly")
    assert first.funcName == "speaks"
    assert second.levelname == "ERROR"
    assert "ValueError: broken" in second.exc_text
    assert "in speaks" in caplog.text


@pytest.mark.parametrize("name", ["payload", "stack_info"])
def test_a_record_with_something_long_is_handled_without_it(fresh, caplog, name):
    # The line was cut, and its 100 KB of JSON shown as text.
    caplog.set_level(logging.WARNING)
    fresh.init(num_cpus=1)

    @fresh.remote
    def speaks():
        record = logging.LogRecord("a.library", 30, "file.py", 7, "careful", None, None)
        setattr(record, name, "x" * 100_000)
        logging.getLogger("a.library").handle(record)

    fresh.get(speaks.remote())
    fresh.shutdown()
    assert [record.message for record in caplog.records] == ["careful"]


def test_the_level_of_the_drivers_root_logger_is_that_of_the_workers(fresh, caplog):
    caplog.set_level(logging.INFO)
    fresh.init(num_cpus=1)

    @fresh.remote
    def speaks():
        logging.getLogger("a").info("seen")
        logging.getLogger("a").debug("not seen")

    fresh.get(speaks.remote())
    fresh.shutdown()
    assert [record.message for record in caplog.records] == ["seen"]


def test_a_handler_of_the_driver_that_raises_loses_its_record_and_nothing_else(fresh, capfd):
    class Hostile(logging.Handler):
        def handle(self, record):
            raise RuntimeError("hostile")

    logger = logging.getLogger("a.library")
    hostile = Hostile()
    logger.addHandler(hostile)
    fresh.init(num_cpus=1)

    @fresh.remote
    def speaks():
        logging.getLogger("a.library").warning("lost")
        print("kept")

    fresh.get(speaks.remote())
    fresh.shutdown()
    logger.removeHandler(hostile)
    assert "kept" in capfd.readouterr().out


def test_without_handlers_a_record_is_a_labelled_line_as_ever():
    program = """
        import logging
        import skate

        @skate.remote
        def speaks():
            logging.getLogger("a").warning("careful")
            logging.getLogger("a").info("not shown")

        skate.get(speaks.remote())
    """
    assert re.fullmatch(r"\(speaks pid=\d+\) careful\n", run(program)[1])


def test_who_configures_logging_in_a_worker_has_it_as_he_says():
    program = """
        import logging
        import skate

        @skate.remote
        def speaks():
            logging.basicConfig(level=logging.INFO, format="%(levelname)s:%(message)s")
            logging.info("mine")

        logging.basicConfig(format="driver %(message)s")
        skate.get(speaks.remote())
    """
    assert re.fullmatch(r"\(speaks pid=\d+\) INFO:mine\n", run(program)[1])


def test_a_line_that_only_looks_like_a_record_is_shown_as_it_is():
    program = r"""
        import sys
        import skate

        @skate.remote
        def odd():
            print("\x1dnot a record", file=sys.stderr)

        skate.get(odd.remote())
    """
    assert "not a record" in run(program)[1]


def test_whatever_a_line_has_that_looks_like_a_record_it_is_shown_or_handled(caplog):
    """Fields of other types made an exception of it, and the line was lost with it."""
    import json
    import random

    from skate import _records

    record = logging.LogRecord("some.module", 30, "file.py", 7, "text", None, None, "function")
    sound = json.loads(_records._packed(record, frozenset(vars(record)) | {"message", "asctime"}))
    strange = [None, True, 1, 2.5, "", "%s", "\ud800", [], {}, [[]] * 9, 10**400]
    outcomes = {True: 0, False: 0}
    for seed in range(2000):
        rng = random.Random(seed)
        fields = dict(sound)
        for _ in range(rng.randrange(3)):
            fields[rng.choice([*sound, "args", "exc_info", "__class__", "x"])] = rng.choice(strange)
        text = json.dumps(fields if rng.random() < 0.9 else rng.choice(strange))
        if rng.random() < 0.3:
            at = rng.randrange(len(text))
            text = rng.choice([text[:at], text[:at] + "[" * 9000, text[:at] + "\x1d" + text[at:]])
        caplog.clear()
        shown = _records.handle(_records.MARK + text, 1, "task")
        assert shown == _records.MARK + text or (shown is None and len(caplog.records) <= 1)
        outcomes[shown is None] += 1
    assert all(outcomes.values()), outcomes
