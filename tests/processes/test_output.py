"""What workers print appears at the driver, line by line, in order, with the task that wrote it."""

import os
import re
import select
import signal
import time
from itertools import pairwise

import pytest

from skate import _session


def lines_of(text, name=".*"):
    """What stands behind `(name pid=N) `."""
    return re.findall(rf"^\((?:{name}) pid=\d+\) (.*)$", text, re.MULTILINE)


def test_each_stream_goes_to_its_own_in_order(run):
    out, err = run("""
        @skate.remote
        def speak():
            for k in range(100):
                print("out", k)
                print("err", k, file=sys.stderr)
            return os.getpid()

        pid = skate.get(speak.remote())
        skate.shutdown()
        print(pid)
    """)
    *lines, pid = out.splitlines()
    assert lines == [f"(speak pid={pid}) out {k}" for k in range(100)]
    assert err.splitlines() == [f"(speak pid={pid}) err {k}" for k in range(100)]


def test_name_is_that_of_the_task_that_printed(run):
    out, _ = run("""
        skate.init(num_cpus=1)

        @skate.remote
        def first():
            print("one")

        @skate.remote
        def second():
            print("two")

        skate.get([first.remote(), second.options(name="other").remote(), first.remote()])
    """)
    assert re.sub(r" pid=\d+", "", out) == "(first) one\n(other) two\n(first) one\n"


def test_lines_are_whole_however_they_were_written(run):
    out, _ = run(r"""
        skate.init(num_cpus=1)

        @skate.remote
        def speak():
            print("in ", end="")
            print("pieces", end="", flush=True)
            print("\n\nafter an empty one")
            print("with \r a return\r")
            print("x" * 200_000)
            sys.stdout.buffer.write(b"bytes \xff\xfe\n")
            sys.stdout.buffer.flush()
            print("lone \udc80 surrogate and ☃")
            print("no newline at the end", end="")

        skate.get(speak.remote())
    """)
    found = lines_of(out, "speak")
    assert found[:4] == ["in pieces", "", "after an empty one", "with \r a return\r"]
    assert "".join(found[4:-3]) == "x" * 200_000
    assert found[-3:] == [
        "bytes \ufffd\ufffd",
        "lone \\udc80 surrogate and ☃",
        "no newline at the end",
    ]


def test_of_a_task_that_is_cancelled_as_it_writes(fresh, gate, capfd):
    # The buffer did not hear that it was written, and wrote it again: 8 lines in 25 cancels.
    fresh.init(num_cpus=1)

    @fresh.remote
    def speak():
        def write_and_wait(descriptor, data):
            os.write = write
            written = write(descriptor, data)
            gate.write_bytes(b"")
            while not _session.client.is_canceled():
                time.sleep(0.001)
            signal.raise_signal(signal.SIGINT)
            return written

        write, os.write = os.write, write_and_wait
        print("said")

    ref = speak.remote()
    gate.read_bytes()
    fresh.cancel(ref)
    with pytest.raises(fresh.exceptions.TaskCancelledError):
        fresh.get(ref)
    fresh.shutdown()
    assert lines_of(capfd.readouterr().out) == ["said"]


def test_of_subprocesses_and_of_c_code(run):
    out, err = run("""
        import subprocess
        skate.init(num_cpus=1)

        @skate.remote
        def speak():
            print("python")
            os.write(1, b"descriptor\\n")
            os.write(2, b"descriptor\\n")
            subprocess.run(["sh", "-c", "echo shell; echo shell >&2"])
            os.system("echo system")

        skate.get(speak.remote())
    """)
    assert lines_of(out) == ["python", "descriptor", "shell", "system"]
    assert lines_of(err) == ["descriptor", "shell"]


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 9)", "os.abort()", "exit(2)"])
def test_written_just_before_the_worker_ends(run, end):
    out, err = run(f"""
        @skate.remote(max_retries=0)
        def speak():
            for k in range(50):
                print("line", k)
            print("last words", end="", flush=True)
            print("error", file=sys.stderr)
            {end}

        try:
            skate.get(speak.remote())
        except skate.exceptions.WorkerCrashedError:
            # In one piece: `print` writes the end of the line by itself, and a line of a worker
            # could come between.
            sys.stdout.write("crashed\\n")
    """)
    assert lines_of(out) == [*(f"line {k}" for k in range(50)), "last words"]
    assert "error" in lines_of(err)


def test_everything_appears_before_shutdown_returns(run):
    out, _ = run("""
        import subprocess

        @skate.remote
        def speak(k):
            for j in range(100):
                print(k, j)
            subprocess.Popen(["sh", "-c", "echo child; exec tail -f /dev/null"]).stdout
            return k

        skate.get([speak.remote(k) for k in range(10)])
        skate.shutdown()
        print("after", flush=True)
    """)
    lines = out.splitlines()
    assert lines[-1] == "after"
    for k in range(10):
        mine = [line for line in lines_of(out) if line.startswith(f"{k} ")]
        assert mine == [f"{k} {j}" for j in range(100)]


def test_nothing_appears_with_log_to_driver_off(run):
    out, err = run("""
        skate.init(log_to_driver=False)

        @skate.remote
        def speak():
            print("x" * 300_000)
            print("x" * 300_000, file=sys.stderr)
            return "answer"

        print(skate.get([speak.remote() for _ in range(10)])[0])
    """)
    assert (out, err) == ("answer\n", "")


def test_lines_that_nobody_takes_are_counted_and_block_no_worker(start):
    # The driver's stdout is a pipe that is not read, so its helper stands still; workers do not.
    program = start("""
        skate.init(num_cpus=1)

        @skate.remote
        def speak():
            for k in range(30_000):
                print("line", k)

        skate.get(speak.remote())
        os.write(2, b"the worker is free")
        skate.get(speak.remote())
        os.write(2, b"\\n")
    """)
    while "free\n" not in program.stderr():
        select.poll().poll(5)
    code, out, err = program.finish()
    assert (code, err) == (0, "the worker is free\n")
    found = lines_of(out, "speak")
    kept = [line for line in found if line.startswith("line ")]
    dropped = [int(n) for n in re.findall(r"\[(\d+) lines were dropped\]", out)]
    assert len(kept) + len(dropped) == len(found)
    assert len(kept) + sum(dropped) == 60_000
    assert dropped
    assert len(kept) >= 10_000
    numbers = [int(line.split()[1]) for line in kept]
    in_order = sum(before < after for before, after in pairwise(numbers))
    assert in_order >= len(numbers) - 2  # but for where the second call begins
    program.check_nothing_is_left()


def test_hundred_thousand_lines_that_are_read(run):
    out, _ = run(
        """
        @skate.remote
        def speak():
            for k in range(100_000):
                print(k)

        skate.get(speak.remote())
        """,
        timeout=60,
    )
    found = lines_of(out, "speak")
    dropped = [int(n) for n in re.findall(r"\[(\d+) lines were dropped\]", out)]
    assert len(found) - len(dropped) + sum(dropped) == 100_000


def test_worker_that_floods_does_not_keep_others_from_starting(run):
    out, _ = run("""
        skate.init(num_cpus=4, log_to_driver=False)

        @skate.remote
        def flood():
            with open("flooding", "w"): pass
            block = b"y\\n" * 32768
            while not os.path.exists("stop"):
                os.write(1, block)

        @skate.remote(num_cpus=0.1)
        def hold(k):
            return k

        os.mkfifo("gate")
        floods = [flood.remote() for _ in range(2)]
        values = skate.get([hold.remote(k) for k in range(20)])
        open("stop", "w").close()
        skate.get(floods)
        print(sum(values))
    """)
    assert out == "190\n"


@pytest.mark.parametrize(
    "break_it",
    [
        "sys.stdout.close()",
        "sys.stdout = None",
        "sys.stdout = sys.stderr = None",
        "os.close(1)",
        (
            "class Bad:\n            def write(self, text): raise RuntimeError('no')\n"
            "            def flush(self): pass\n"
            "        sys.stdout = Bad()"
        ),
    ],
)
def test_driver_whose_stdout_does_not_work(run, break_it):
    out, err = run(
        f"""
        {break_it}

        @skate.remote
        def speak(k):
            print("lost", k)
            print("kept", k, file=sys.stderr)
            return k

        assert skate.get([speak.remote(k) for k in range(3)]) == [0, 1, 2]
        skate.shutdown()
        os.write(2, b"end\\n")
    """,
        stdout=None if "os.close(1)" in break_it else -1,
    )
    assert "lost" not in out
    assert err.endswith("end\n")
    if "stderr" not in break_it:
        assert sorted(lines_of(err, "speak")) == ["kept 0", "kept 1", "kept 2"]


def test_driver_whose_stdout_is_replaced(run):
    out, _ = run("""
        import contextlib, io
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            skate.init()
            skate.get(skate.remote(lambda: print("caught")).remote())
            skate.shutdown()
        print(text.getvalue().endswith("caught\\n"))
    """)
    assert out == "True\n"


def test_driver_with_an_ascii_stdout(run):
    out, _ = run(
        "skate.get(skate.remote(lambda: print('snow ☃')).remote())",
        environment={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert lines_of(out) == ["snow \\u2603"]


def test_streams_that_a_task_replaces_or_closes(run):
    out, _ = run("""
        import io
        skate.init(num_cpus=1)

        @skate.remote
        def spoil(k):
            if k == 0:
                sys.stdout = io.StringIO()
            elif k == 1:
                sys.stdout.close()
            elif k == 2:
                sys.stdout = None
            print("into nothing")
            return k

        def look(k):
            try:
                return skate.get(spoil.options(max_retries=0).remote(k))
            except ValueError as error:
                return "closed"

        print(look(0), look(1), look(2))
    """)
    assert out == "0 closed 2\n"


def test_lines_that_look_like_what_workers_send(run):
    """RFC 7464 begins its records with the byte that begins a label: all that followed was lost."""
    out, _ = run(r"""
        skate.init(num_cpus=1)

        @skate.remote
        def records():
            print("before")
            for number in range(2):
                print('\x1e{"number": %d}' % number)
            print("in a\x1e line")
            print("no end \x1e", end="")

        @skate.remote
        def other():
            print("after")

        skate.get([records.remote(), other.remote()])
    """)
    lines = re.sub(r" pid=\d+", "", out).split("\n")
    texts = ["before", '\x1e{"number": 0}', '\x1e{"number": 1}', "in a\x1e line", "no end \x1e"]
    assert lines == [*(f"(records) {text}" for text in texts), "(other) after", ""]


def test_long_lines_are_cut_between_characters(run):
    out, _ = run("""
        skate.init(num_cpus=1)
        skate.get(skate.remote(lambda: print("a" + "\N{EURO SIGN}" * 60_000)).remote())
    """)
    text = re.sub(r"\(.* pid=\d+\) |\n", "", out)
    assert text == "a" + "\N{EURO SIGN}" * 60_000
