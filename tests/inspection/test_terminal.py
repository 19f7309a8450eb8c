"""`skate top` and the lists in a real terminal: a pseudo-terminal of the kernel."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.processes("it looks at drivers from other processes")


class Terminal:
    """A program in a terminal."""

    def __init__(self, *arguments, **environment):
        self.screen, end = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "skate", *map(str, arguments)],
            stdin=end, stdout=end, stderr=end, close_fds=True, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40",
                 **environment},
        )  # fmt: skip
        os.close(end)

    def read(self, until=None):
        """What is shown, until that has been seen, or to the end."""
        deadline = time.monotonic() + 20
        while until is None or until not in self.text:
            assert time.monotonic() < deadline, self.text
            ready, _, _ = select.select([self.screen], [], [], 0.2)
            if not ready:
                continue
            try:
                data = os.read(self.screen, 1 << 16)
            except OSError:  # the other end is closed
                data = b""
            if not data:
                assert until is None, self.text
                break
            self.text += data.decode(errors="replace")
        return self.text

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        os.close(self.screen)


@pytest.fixture
def terminal():
    opened = []

    def begin(*arguments, **environment):
        opened.append(Terminal(*arguments, **environment))
        return opened[-1]

    yield begin
    for each in opened:
        each.close()


def test_top_shows_workers_streams_and_the_store_until_ctrl_c(start, terminal):
    pytest.importorskip("rich")
    driver = start("stream = numbers.remote(9)\nskate.get(next(stream))\n")
    top = terminal("top", "--pid", driver.pid, "--interval", 0.1)
    text = top.read(until="numbers")
    assert f"driver {driver.pid}" in text
    assert "\x1b[?1049h" in text  # a screen of its own
    top.read(until="█")  # the buffer of the stream
    top.process.send_signal(signal.SIGINT)
    assert "\x1b[?1049l" in top.read()  # which is gone
    assert top.process.wait(20) == 0
    assert "Traceback" not in top.text


def test_top_ends_with_the_driver(start, terminal):
    pytest.importorskip("rich")
    driver = start()
    top = terminal("top", "--pid", driver.pid, "--interval", 0.1)
    top.read(until="store")
    os.kill(driver.pid, signal.SIGKILL)
    assert f"driver {driver.pid} has" in top.read()
    assert top.process.wait(20) == 0
    assert "Traceback" not in top.text


def test_top_prints_lines_where_it_is_told_to_or_nobody_watches(start, terminal, skate_program):
    driver = start("stream = numbers.remote(9)\nskate.get(next(stream))\n")
    text = terminal("top", "--pid", driver.pid, "-n", 2, "--plain", "--interval", 0.1).read()
    assert "\x1b[?1049h" not in text
    assert text.count("store  ") == 2
    ran = skate_program("top", "--pid", driver.pid, "-n", 1)
    assert f"driver {driver.pid}" in ran.stdout
    assert "\x1b" not in ran.stdout
    ran = skate_program("top", "--pid", driver.pid, "-n", 2, "--interval", 0.1, "--json")
    assert len(ran.stdout.splitlines()) == 2


def test_colours_are_for_terminals_that_want_them(start, terminal):
    driver = start(
        "stream = numbers.remote(9)\nskate.get(next(stream))\n"
        "from skate.util.state import list_streams\n"
        "while list_streams()[0].state != 'PAUSED': time.sleep(0.01)\n"
    )
    line = ("list", "streams", "--pid", driver.pid)
    assert "\x1b[33mPAUSED" in terminal(*line).read()
    assert "\x1b" not in terminal(*line, NO_COLOR="1").read()
