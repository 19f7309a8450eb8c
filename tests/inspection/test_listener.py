"""Who may look at a driver, and that looking harms nobody."""

import contextlib
import json
import os
import re
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes("it looks at drivers from other processes")


def name_of(pid):
    name = rf"@(skate-{pid}-[0-9a-f]+(?:-worker)?)\n"
    found = re.search(name, Path("/proc/net/unix").read_text())
    return found and "\0" + found[1]


def connect(pid):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(15)
    connection.connect(name_of(pid))
    return connection


def ask(connection, line):
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough
        connection.sendall(line)
    return json.loads(connection.makefile().readline())


QUESTION = b'{"table": "workers", "columns": ["pid"], "limit": 1}\n'


def names_of_threads(pid):
    names = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            names.append((thread / "comm").read_text().strip())
    return names


def test_questions_of_one_connection_are_answered_in_order(start):
    pid = start().pid
    with connect(pid) as connection:
        for _ in range(3):
            assert ask(connection, QUESTION)["rows"] == [[pid]]
        assert "used_bytes" in ask(connection, b"statistics\n")


@pytest.mark.parametrize(
    "garbage",
    [
        b"what?\n",
        b"{}\n",
        b'{"table": "secrets"}\n',
        b'{"table": "tasks", "columns": ["password"]}\n',
        b'{"table": "tasks", "filters": [["state", "~", 1]]}\n',
        b'{"table": "tasks", "limit": -1}\n',
        b'{"table": "why", "subject": "\\u0000\\ud83d\\ude00"}\n',
        b"[" * 60_000 + b"\n",
        b"x" * 200_000,
    ],
)
def test_garbage_is_told_so_and_the_driver_goes_on(start, garbage):
    pid = start(
        "refs = [f.remote(k) for k in range(100)]\nassert len(skate.get(refs)) == 100\n"
    ).pid
    with connect(pid) as connection:
        assert "error" in ask(connection, garbage)
    with connect(pid) as connection:
        assert ask(connection, QUESTION)["total"] >= 1


def test_bytes_that_are_no_text_close_the_connection(start):
    pid = start().pid
    with connect(pid) as connection:
        connection.sendall(b"\xff\xfe\n")
        assert connection.recv(1) == b""
    with connect(pid) as connection:
        assert ask(connection, QUESTION)["rows"] == [[pid]]


def test_those_who_say_nothing_keep_nobody_waiting(start):
    """Silent connections take places, never the driver's time."""
    driver = start(
        "def work():\n"
        "    while True: skate.get([f.remote(k) for k in range(50)])\n"
        "import threading\n"
        "threading.Thread(target=work, daemon=True).start()\n"
    )
    silent = [connect(driver.pid) for _ in range(30)]
    try:
        assert names_of_threads(driver.pid).count("skate-inspect") <= 16
    finally:
        for connection in silent:
            connection.close()


def test_many_may_look_one_after_the_other_and_no_thread_remains(start, until):
    pid = start().pid
    for _ in range(100):
        with connect(pid) as connection:
            assert ask(connection, QUESTION)["rows"] == [[pid]]

    until(lambda: "skate-inspect" not in names_of_threads(pid))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_refused(start):
    pid = start().pid
    name = name_of(pid)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(15)
        os.seteuid(65534)
        try:
            connection.connect(name)
        finally:
            os.seteuid(0)
        with pytest.raises((ConnectionError, json.JSONDecodeError)):
            ask(connection, QUESTION)


def hang_up_on_all(pretender):
    """Of whoever asks: another program may be looking for drivers, too."""
    while True:
        try:
            connection, _ = pretender.accept()
        except OSError:  # it is shut down
            return
        with connection, contextlib.suppress(ConnectionError):
            connection.recv(1000)


def test_what_only_has_the_name_of_a_driver_is_not_believed(skate_program):
    """Somebody listens as if it were a driver, and says what is no answer."""
    with socket.socket(socket.AF_UNIX) as pretender:
        pretender.bind(f"\0skate-{os.getpid()}-{'0' * 15}1")
        pretender.listen()
        answering = threading.Thread(target=hang_up_on_all, args=(pretender,))
        answering.start()
        ran = skate_program("list", "tasks", "--pid", os.getpid())
        pretender.shutdown(socket.SHUT_RDWR)
        answering.join()
    assert "has closed the connection" in ran.stderr
    assert ran.returncode == 2


def test_a_stopped_driver_is_told_from_a_dead_one(start, monkeypatch):
    from skate.cli import Refused, _attach

    driver = start()
    [found] = [each for each in _attach.drivers() if each.pid == driver.pid]
    monkeypatch.setattr(_attach, "PATIENCE_S", 0.2)
    driver.send_signal(signal.SIGSTOP)
    try:
        said = r"does not answer within .* is it stopped"
        with pytest.raises(Refused, match=said), _attach.Driver(found) as connection:
            connection.statistics()
    finally:
        driver.send_signal(signal.SIGCONT)
    driver.kill()
    driver.wait()
    with pytest.raises(Refused, match=f"driver {driver.pid} has ended"):
        _attach.Driver(found)


WORKER = """
@skate.remote
def pid():
    return os.getpid()

with open("pid", "w") as file:
    file.write(str(skate.get(pid.remote())))
"""


def test_a_worker_answers_for_its_stacks_alone(start, tmp_path):
    start(WORKER)
    with connect(int((tmp_path / "pid").read_text())) as connection:
        assert "ask the driver" in ask(connection, QUESTION)["error"]
        assert ask(connection, b"stacks\n")["threads"][0]["name"] == "MainThread"
        assert "error" in ask(connection, b"x" * 200_000)


def test_a_driver_that_does_not_want_it_does_not_listen(start, skate_program, tmp_path):
    pid = start(WORKER, SKATE_INSPECT="0").pid
    assert name_of(pid) is None
    assert name_of(int((tmp_path / "pid").read_text())) is None
    ran = skate_program("status", "--pid", pid)
    assert ran.returncode == 2
    assert f"there is no driver {pid}" in ran.stderr


def test_after_shutdown_nobody_listens(start):
    pid = start("skate.shutdown()\n").pid
    assert name_of(pid) is None


def test_forked_child_of_a_dead_driver_is_no_driver(start, skate_program, tmp_path):
    """The child has the socket open, and the name is that of its parent, which is gone."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    driver = start(
        "if not os.fork():\n"
        "    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)\n"
        f"    open({str(gate)!r}).close()\n"
        "    os._exit(0)\n"
    )
    driver.kill()
    driver.wait()
    ran = skate_program("status", "--json")
    assert driver.pid not in {row["pid"] for row in json.loads(ran.stdout)}
    gate.write_bytes(b"")


def test_credentials_of_the_listener_are_those_of_its_user(start):
    with connect(start().pid) as connection:
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert struct.unpack("iII", peer)[1] == os.geteuid()


FULL = """
import resource

# Both workers are up: none comes, or fails to come, later on.
busy = skate.remote(lambda: time.sleep(0.2))
skate.get([busy.remote(), busy.remote()])
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
"""


def cpu_s(pid):
    """Time that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def test_guest_is_turned_away_when_the_driver_may_open_nothing_more(start):
    """Its connection would else be told of for ever, and the watcher would do nothing else."""
    pid = start(FULL).pid
    for _ in range(3):
        with connect(pid) as connection:
            assert connection.recv(1) == b""
    before = cpu_s(pid)
    time.sleep(0.5)
    assert cpu_s(pid) - before < 0.2
