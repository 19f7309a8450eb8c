"""Drivers in processes of their own, found with everything that they start.

A program carries a mark in its environment, which its zygote, its workers and what these start
inherit; `/proc` finds them by it, and pidfds say when they are gone. Nothing waits by the clock: a
test waits for a line, a pidfd or the end of a pipe, and a deadline only bounds a failure.
"""

import contextlib
import gc
import os
import select
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
"""The repository, wherever it lies."""
PATIENCE_S = 50
"""How long a test waits for what must come. A failure takes so long, a success never does."""

PRELUDE = """\
import os, signal, sys, threading, time
import skate
"""


class Program:
    """One driver, from its start until nothing of it is left."""

    def __init__(self, argv, directory, environment=None, **options):
        self.mark = f"SKATE_TEST_MARK={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        self.tmp = directory / "tmp"
        self.tmp.mkdir(exist_ok=True)
        self.stderr_path = directory / f"{value}.stderr"
        settings = {**os.environ, "TMPDIR": str(self.tmp), name: value, **(environment or {})}
        options.setdefault("cwd", directory)
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        self._unread = b""
        with self.stderr_path.open("wb") as stderr:
            options.setdefault("stderr", stderr)
            self.popen = subprocess.Popen(
                argv, env={k: v for k, v in settings.items() if v is not None}, **options
            )
        self.pid = self.popen.pid

    def line(self, timeout=PATIENCE_S):
        """The next line of its stdout; fails the test if none comes."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._unread:
            self._read(deadline)
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode()

    def read(self, count, timeout=PATIENCE_S):
        """Exactly so many bytes of its stdout."""
        deadline = time.monotonic() + timeout
        while len(self._unread) < count:
            self._read(deadline)
        data, self._unread = self._unread[:count], self._unread[count:]
        return data

    def _read(self, deadline):
        if not readable(self.popen.stdout.fileno(), deadline):
            pytest.fail(f"nothing came from the program; stderr: {self.stderr()}")
        data = os.read(self.popen.stdout.fileno(), 1 << 16)
        if not data:
            pytest.fail(f"the program has ended ({self.popen.wait()}); stderr: {self.stderr()}")
        self._unread += data

    def signal(self, number):
        """Sends a signal to the driver alone, as `kill` does."""
        self.popen.send_signal(number)

    def finish(self, timeout=PATIENCE_S):
        """Waits for the end: exit code, rest of stdout, stderr."""
        try:
            out, _ = self.popen.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            stacks = self.stacks()
            self.popen.kill()
            pytest.fail(f"the program does not end; stderr: {self.stderr()}\n{stacks}")
        text = (self._unread + (out or b"")).decode(errors="replace")
        return self.popen.returncode, text, self.stderr()

    def succeed(self, timeout=PATIENCE_S):
        """Waits for the end, which must be a good one; its stdout and stderr, nothing left."""
        code, out, err = self.finish(timeout)
        assert code == 0, f"exit code {code}\n{out}\n{err}"
        self.check_nothing_is_left()
        return out, err

    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def stacks(self):
        """Where its processes wait in the kernel, for a failure's report."""
        rows = []
        for pid in self.processes():
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/comm").read_text().strip()
                state = stat_fields(pid)[0]
                rows.append(f"{pid} {command} {state}")
        return "\n".join(rows)

    def processes(self):
        """Pids of the living processes that carry the mark, the driver included."""
        mark = self.mark.encode()
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                        found.append(int(entry))
        return found

    def zygote(self):
        """The driver's one child."""
        (pid,) = (pid for pid in self.processes() if parent_of(pid) == self.pid)
        return pid

    def workers(self):
        """Children of the zygote."""
        zygote = self.zygote()
        return [pid for pid in self.processes() if parent_of(pid) == zygote]

    def check_nothing_is_left(self, timeout=PATIENCE_S):
        """Waits until no process is left, then looks for files."""
        deadline = time.monotonic() + timeout
        quiet = 0
        while quiet < 2:
            left = self.processes()
            quiet = 0 if left else quiet + 1
            for pid in left:
                if not wait_for_end(pid, deadline):
                    pytest.fail(f"left behind:\n{self.stacks()}\nstderr: {self.stderr()}")
        assert not [name for name in os.listdir("/dev/shm") if "skate" in name.lower()]
        assert not os.listdir(self.tmp)

    def check_no_names(self):
        """Looks at its processes now: no port, no socket or file with a name in a file system."""
        inet = inodes("tcp", "tcp6", "udp", "udp6", "raw", "raw6", column=9)
        named = inodes("unix", column=6, at_least=8, unless=lambda row: row[7].startswith("@"))
        processes = self.processes()
        for pid in processes:
            for link in descriptors(pid):
                if link.startswith("socket:["):
                    inode = link[8:-1]
                    assert inode not in inet, f"{pid} has a port"
                    assert inode not in named, f"{pid} has a named socket"
                if Path(link).is_dir() or Path(link).is_relative_to(ROOT):
                    continue  # an import lists what sys.path names, and reads what it finds
                assert not link.startswith(("/dev/shm/", "/tmp/")) or link.endswith(
                    (".stderr", " (deleted)")
                ), f"{pid} has {link}"
            with contextlib.suppress(OSError):
                maps = Path(f"/proc/{pid}/maps").read_text()
                assert "/dev/shm/" not in maps
        return processes

    def end(self):
        """Ends it by force; for a fixture's cleanup."""
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.popen.stdout is not None:
            self.popen.stdout.close()
        if self.popen.stdin is not None:
            with contextlib.suppress(OSError):
                self.popen.stdin.close()
        self.popen.wait()


def readable(descriptor, deadline):
    """Waits until there is something to read, or the end of it; False after the deadline."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0, (deadline - time.monotonic()) * 1000)))


def wait_for_end(pid, deadline=None):
    """Waits until a process has ended; False after the deadline."""
    deadline = time.monotonic() + PATIENCE_S if deadline is None else deadline
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return readable(descriptor, deadline)
    finally:
        os.close(descriptor)


def opened(pid):
    """The descriptors of a process, as paths, and what they refer to, less those that it closes."""
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            path = Path(f"/proc/{pid}/fd/{name}")
            with contextlib.suppress(OSError):
                yield path, os.readlink(path)


def descriptors(pid):
    """What the descriptors of a process refer to."""
    return [link for _, link in opened(pid)]


def inodes(*tables, column, at_least=0, unless=lambda _: False):
    """Inodes of all sockets in tables of /proc/net (of rows with so many columns)."""
    found = set()
    for table in tables:
        with contextlib.suppress(OSError):
            for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = row.split()
                if len(fields) >= max(at_least, column + 1) and not unless(fields):
                    found.add(fields[column])
    return found


def stat_fields(pid):
    """Fields of /proc/pid/stat from the third (the state) on."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def parent_of(pid):
    """Its parent, or 0 if it has gone meanwhile."""
    try:
        return int(stat_fields(pid)[1])
    except OSError:
        return 0


def wait_until(holds, report=lambda: ""):
    """Waits for something that no descriptor tells, such as a counter of the session."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"it did not come to pass: {report()}")
        select.poll().poll(2)


LEASE_BYTES = 1 << 20
"""What a living process may keep for its next small values."""


def at_rest(skate):
    """Whether nothing is held: no task, object or handle, and no memory but leases."""
    gc.collect()  # a caught exception and the frame that caught it hold each other, and refs
    now = skate.statistics()
    held = (
        now.tasks,
        now.objects,
        now.streams,
        now.requests,
        now.driver_handles,
        now.worker_handles,
        now.pins,
    )
    is_leased = now.leases <= now.workers + 1 and now.used_bytes == now.leases * LEASE_BYTES
    return not any(held) and is_leased
