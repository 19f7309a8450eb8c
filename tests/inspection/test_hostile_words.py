"""A driver and those who look at it, when one side says anything at all.

Sound lines are changed by a seed: bytes flipped, cut, doubled; values of other types, deep nesting.
`SKATE_FUZZ_SEEDS=n` plays the seeds 1 to n.
"""

import contextlib
import json
import os
import random
import re
import socket
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes("it looks at drivers from other processes")

SEEDS = range(1, 1 + int(os.environ.get("SKATE_FUZZ_SEEDS", "400")))
SCALARS = [
    None,
    True,
    -1,
    0,
    2**63,
    2**64,
    1e400,
    0.5,
    "",
    "RUNNING",
    "\0",
    "😀" * 14,
    "a" * 56,
    [],
    {},
]


def value(rng, depth=0):
    if depth < 3 and rng.random() < 0.3:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if depth < 3 and rng.random() < 0.1:
        return {str(rng.choice(SCALARS)): value(rng, depth + 1)}
    return rng.choice(SCALARS)


def garbled(line, rng):
    """A line of bytes that was changed somewhere; never more than one line."""
    line = bytearray(line)
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(line) + 1)
        way = rng.randrange(5)
        if way == 0:
            line[at : at + 1] = bytes([rng.randrange(256)])
        elif way == 1:
            del line[at:]
        elif way == 2:
            line[at:at] = line[: rng.randrange(len(line) + 1)]
        elif way == 3:
            line[at:at] = rng.choice([b"[", b'{"a":']) * rng.choice([1, 200, 5000])
        else:
            line[at:at] = rng.choice([b"\xff", b'"', b"\\ud800", b"0", b"e9999", b","])
    return bytes(line).replace(b"\n", b" ")


def question(rng, ids):
    tables = [
        "tasks",
        "objects",
        "actors",
        "workers",
        "placement_groups",
        "streams",
        "yields",
        "spans",
        "history",
        "why",
        "x",
    ]
    asked = {"table": rng.choice(tables)}
    columns = ["name", "state", "pid", "task_id", "resources", "", "x"]
    for key, sound in (
        ("columns", rng.sample(columns, rng.randrange(4))),
        ("filters", [[rng.choice(columns), rng.choice("=~"), rng.choice(SCALARS + ids)]]),
        ("limit", rng.choice([0, 1, 2**32 - 1, 2**32])),
        ("subject", rng.choice([*ids, "driver", "😀" * 12, "+" * 32, ""])),
        ("position", rng.choice([0, 1, 2**64 - 1])),
        ("is_counted", True),
        ("is_stream", True),
    ):
        if rng.random() < 0.4:
            asked[key] = sound if rng.random() < 0.8 else value(rng)
    return asked


def test_any_question_gets_an_answer_or_the_end_of_the_connection(skate, f, capfd):
    refs = [f.remote(k) for k in range(3)]
    skate.get(refs)
    ids = [refs[0].hex(), refs[0].task_id().hex()]
    name = re.search(rf"@(skate-{os.getpid()}-[0-9a-f]+)\n", Path("/proc/net/unix").read_text())[1]
    kinds = {"rows": 0, "error": 0, "closed": 0}
    for seed in SEEDS:
        rng = random.Random(seed)
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(15)
            peer.connect("\0" + name)
            with peer.makefile("rb") as answers:
                for _ in range(5):
                    line = json.dumps(question(rng, ids)).encode()
                    peer.sendall((garbled(line, rng) if rng.random() < 0.5 else line) + b"\n")
                    answer = answers.readline()
                    if not answer:  # what is no text is not answered
                        kinds["closed"] += 1
                        break
                    kinds["error" if "error" in json.loads(answer) else "rows"] += 1
    assert all(kinds.values()), kinds
    assert "panicked" not in capfd.readouterr().err
    assert skate.get(f.remote(1)) == 1


class Pretender:
    """Listens under the name of a driver, and answers what it is told to answer."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(f"\0skate-{os.getpid()}-{'0' * 15}2")
        self.socket.listen()
        self.answer = b""
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while self.answer is not None:
            connection, _ = self.socket.accept()
            with connection, contextlib.suppress(ConnectionError):
                if connection.recv(1000) and (answer := self.answer) is not None:
                    connection.sendall(answer)

    def end(self):
        self.answer = None
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(self.socket.getsockname())
        self.thread.join()
        self.socket.close()


@pytest.fixture
def pretender():
    pretender = Pretender()
    yield pretender
    pretender.end()


FOUND = (os.getpid(), "0" * 15 + "2", "python")
ANSWER = {"columns": ["name", "state"], "rows": [["f", "RUNNING"], ["g", None]], "total": 2}


def answer(rng):
    sound = dict(ANSWER)
    if rng.random() < 0.5:
        sound[rng.choice([*ANSWER, "error"])] = value(rng)
    line = json.dumps(sound if rng.random() < 0.9 else value(rng)).encode()
    return (garbled(line, rng) if rng.random() < 0.5 else line) + b"\n"


def test_any_answer_is_one_of_the_right_shape_or_refused(pretender):
    from skate.cli import Refused
    from skate.cli._attach import Driver, Found

    kinds = dict.fromkeys(["sound", "refused"], 0)
    for seed in SEEDS:
        pretender.answer = answer(random.Random(seed))
        with Driver(Found(*FOUND)) as driver:
            try:
                got = driver.ask({"table": "tasks"}) if seed % 4 else driver.statistics()
            except Refused:
                kinds["refused"] += 1
            else:
                kinds["sound"] += 1
                if seed % 4:
                    assert all(len(row) == len(got["columns"]) for row in got["rows"])
    assert all(kinds.values()), kinds


@pytest.mark.parametrize("answer", [b"[" * 100_000 + b"\n", b"[]\n", b"\xff\n", b'{"rows": 1}\n'])
def test_program_says_in_one_line_that_it_is_no_answer(fresh, pretender, skate_program, answer):
    pretender.answer = answer  # the only one of this process: `fresh` has ended its session
    ran = skate_program("list", "tasks", "--pid", os.getpid())
    assert ran.returncode == 2
    assert "gives no answer of skate" in ran.stderr
    assert ran.stderr.count("\n") == 1


NO_ROWS = [b'{"columns": [], "rows": [%s], "total": 0}\n' % each for each in (b"", b"[]")]


@pytest.mark.parametrize("answer", [b'{"error": "?"}\n', *NO_ROWS])
def test_status_of_all_passes_by_who_only_has_the_name(fresh, pretender, skate_program, answer):
    """It ended with a traceback."""
    pretender.answer = answer
    ran = skate_program("status", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert os.getpid() not in {row["pid"] for row in json.loads(ran.stdout)}
    ran = skate_program("status", "--pid", os.getpid())
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)


@pytest.fixture
def in_a_directory(tmp_path, monkeypatch):
    """For files that a command writes."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("answer", [b'{"error": "it is\\nbusy"}\n', *NO_ROWS])
@pytest.mark.parametrize(
    "command",
    [
        *(["list", table] for table in ("tasks", "nodes", "jobs")),
        *([name] for name in ("timeline", "report", "top", "stack", "memory", "why")),
        ["get", "task", "00"],
        ["summary", "tasks"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("fresh", "in_a_directory")
def test_whatever_is_answered_is_no_traceback(pretender, capsys, command, answer):
    """Errors and tables without what was asked for were; what has no rows may be shown as such."""
    from skate.cli import main

    pretender.answer = answer
    code = main([*command, "--pid", str(os.getpid())])
    said = capsys.readouterr()
    if code == 2 or command == ["top"]:  # which ends with its driver
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert "it is busy" in said.err or b"error" not in answer
    else:
        assert (code, said.err) == (0, "")
        assert b"error" not in answer


def test_answer_that_comes_drop_by_drop_ends_in_time():
    """Each piece of it came within the patience for one piece, so it was waited for, for ever."""
    from skate.cli import Refused, _attach

    here, there = socket.socketpair()
    is_over = threading.Event()

    def drip():
        with contextlib.suppress(ConnectionError):  # who listened has gone
            while not is_over.wait(0.01):
                there.sendall(b" ")

    dripping = threading.Thread(target=drip)
    dripping.start()
    driver = object.__new__(_attach.Driver)
    driver.pid, driver.session, driver._socket = os.getpid(), "0" * 16, here
    driver._patience_s = 0.5
    try:
        with driver, pytest.raises(Refused, match=r"gives no answer|does not answer"):
            driver.statistics()
    finally:
        is_over.set()
        dripping.join()
        there.close()
