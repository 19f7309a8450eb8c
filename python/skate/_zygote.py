"""The zygote: a clean process without threads that is forked into workers.

    driver ── SEQPACKET, JSON, descriptors ──▶ zygote ── fork ──▶ worker, worker, ...

    driver → zygote   {"op": "hello", ...} [driver's pidfd, hub, data, spill file?]      once, first
                      {"op": "preload", "module": name}
                      {"op": "spawn", "client": n} [control, stdout, stderr]
                      {"op": "kill", "client": n}
                      {"op": "exit"}
    zygote → driver   {"op": "ready"}                                            imports are done
                      {"op": "spawned", "client": n, "pid": p} [pidfd]
                      {"op": "failed", "client": n, "error": text}
                      {"op": "exited", "client": n, "pid": p, "exit_code": c, "signal": s}

Invariant: each child leads its own process group and is reaped only here, after its group was
killed: a pid is never signalled after it could have been given to another. When the driver is gone
(its pidfd, or the end of the socket, whichever comes first) every group is killed and reaped, then
the zygote leaves. A crash of the zygote itself leaves its workers to their own watch on the driver,
but for those that the driver may not have heard of: they end with the zygote.
"""

from __future__ import annotations

import array
import contextlib
import errno
import gc
import json
import os
import select
import signal
import sys
from _socket import (
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_NOSIGNAL,
    SCM_RIGHTS,
    SOL_SOCKET,
)
from _socket import socket as Socket  # noqa: N812 - the C class: the module `socket` takes 8 ms
from collections import deque

from skate import _native, _standard, _threads
from skate._title import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_reached: Callable[[str], None] = getattr(_native, "reached", lambda _: None)
"""A build for `make chaos` ends a process at such a point (rust/shm/src/killpoint.rs)."""

_PACKET_MAX = 64 << 10
_FDS_MAX = 8
_FD_BYTES = 4
_FDS_OF_A_WORKER = 3
_STDERR = 2


def main() -> None:
    """Runs the zygote; descriptor 0 is its end of the socket. Never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A program that ignores it passes that on: the kernel would reap the workers.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # One that replaces another is started by a thread of the driver that blocks all signals.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _native.wake_with_driver()
    set_title("skate-zygote")
    channel = Socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    _close_inherited()
    _threads.enter_zygote()
    # Everything that a worker needs before its first task.
    from skate import _actor_worker, _generator, _pickler, _remote_function, _worker  # noqa: F401

    code = 1
    try:
        Zygote(channel).run()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _close_inherited() -> None:
    """Closes what came from the driver. What was opened since belongs to modules of the site."""
    # The listing itself holds one more descriptor, which is closed by then.
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - pathlib is not imported here
        descriptor = int(name)
        if descriptor > _STDERR:
            with contextlib.suppress(OSError):
                if os.get_inheritable(descriptor):
                    os.close(descriptor)


class Child:
    """A worker that has not been reaped."""

    __slots__ = ("client", "pid")

    def __init__(self, client: int, pid: int) -> None:
        self.client = client
        self.pid = pid

    def kill_group(self) -> None:
        """Kills whatever is left of it and of the processes that it started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


class Zygote:
    """The loop: one `poll` on the socket, the driver and all children."""

    def __init__(self, channel: Socket) -> None:
        self._channel = channel
        self._poll = select.poll()
        self._children: dict[int, Child] = {}  # by pidfd
        self._outbox: deque[tuple[bytes, int | None]] = deque()  # what, and a descriptor of ours
        self._hello, received = self._receive_hello()
        self._driver, self._hub, self._data, *rest = received
        self._spill = rest[0] if rest else None
        channel.setblocking(False)  # noqa: FBT003 - the method of `socket`
        self._poll.register(channel.fileno(), select.POLLIN)
        self._poll.register(self._driver, select.POLLIN)

    def run(self) -> None:
        """Serves until the driver is gone or says exit."""
        gc.collect()
        gc.disable()  # a collection here would unshare pages for nothing
        gc.freeze()
        try:
            if self._hello["preload"]:
                from skate._preload import preload

                preload(self._hello)
                _standard.reserve()
                gc.freeze()
            self._send({"op": "ready"})
            while self._step():
                pass
        finally:
            self._end_children()

    def _step(self) -> bool:
        for descriptor, events in self._poll.poll():
            if descriptor == self._driver:
                return False
            if descriptor == self._channel.fileno():
                if events & select.POLLOUT:
                    self._flush()
                if events & ~select.POLLOUT and not self._receive_all():
                    return False
            elif descriptor in self._children:
                self._reap(descriptor)
        return True

    # ── messages ──────────────────────────────────────────────────────────────────────────────────

    def _receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """One message; None at the end of the socket. Raises BlockingIOError when there is none."""
        packet, ancillary, _, _ = self._channel.recvmsg(
            _PACKET_MAX, CMSG_SPACE(_FDS_MAX * _FD_BYTES), MSG_CMSG_CLOEXEC
        )
        descriptors = array.array("i")
        for level, kind, payload in ancillary:
            if level == SOL_SOCKET and kind == SCM_RIGHTS:
                descriptors.frombytes(payload[: len(payload) - len(payload) % _FD_BYTES])
        if not packet:
            return None
        message: dict[str, Any] = json.loads(packet)
        return message, descriptors.tolist()

    def _receive_hello(self) -> tuple[dict[str, Any], list[int]]:
        received = self._receive()
        if received is None:
            os._exit(0)
        _, (told, *rest) = received
        with open(told, "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(0)  # the driver has written it by the same open file
            return json.load(file), rest

    def _receive_all(self) -> bool:
        """Does what the driver asks; False when it is time to leave."""
        while True:
            try:
                received = self._receive()
            except BlockingIOError:
                return True
            except OSError:
                return False
            if received is None or received[0]["op"] == "exit":
                return False
            op = received[0]["op"]
            if op == "preload":
                _preload(received[0]["module"])
            elif op == "kill":
                self._kill(received[0]["client"])
            else:
                self._spawn(*received)

    def _send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        """Sends when there is room; the descriptor is copied if it must wait."""
        packet = json.dumps(message).encode()
        if not self._outbox and self._try_send(packet, descriptor):
            return
        self._outbox.append((packet, None if descriptor is None else os.dup(descriptor)))
        self._poll.modify(self._channel.fileno(), select.POLLIN | select.POLLOUT)

    def _try_send(self, packet: bytes, descriptor: int | None) -> bool:
        rights = (
            [] if descriptor is None else [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [descriptor]))]
        )
        try:
            self._channel.sendmsg([packet], rights, MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:
            return True  # nobody listens any more; the end of the socket is read next
        return True

    def _flush(self) -> None:
        while self._outbox:
            packet, descriptor = self._outbox[0]
            if not self._try_send(packet, descriptor):
                return
            self._outbox.popleft()
            if descriptor is not None:
                os.close(descriptor)
        self._poll.modify(self._channel.fileno(), select.POLLIN)

    # ── children ──────────────────────────────────────────────────────────────────────────────────

    def _spawn(self, message: dict[str, Any], descriptors: list[int]) -> None:
        client: int = message["client"]
        try:
            _check_arrival(descriptors)
            zygote = os.getpid()
            pid = os.fork()
            if pid == 0:
                self._become_worker(zygote, client, *descriptors)
            _reached("Forked")
            _own_group(pid)
            child = _watch(pid)
        except OSError as error:
            self._send({"op": "failed", "client": client, "error": f"{error.strerror or error}"})
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._children[child] = Child(client, pid)
        self._poll.register(child, select.POLLIN)
        _reached("Reporting")
        self._send({"op": "spawned", "client": client, "pid": pid}, child)
        _reached("Reported")

    def _become_worker(
        self, zygote: int, client: int, control: int, stdout: int, stderr: int
    ) -> None:
        """In the child: keeps nothing that is the zygote's own, and never comes back."""
        try:
            if not _native.end_with_zygote(zygote):
                os._exit(1)
            _own_group(0)
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            os.close(stdout)
            os.close(stderr)
            self._close_own()
            gc.enable()
            from skate import _worker

            shared = (self._hub, self._data, control, self._driver, self._spill)
            _worker.main(self._hello, client, shared)
        finally:
            os._exit(1)

    def _close_own(self) -> None:
        """In a child: closes what only the zygote needs.

        Not what modules have open that it has imported: to them the numbers are still theirs.
        """
        queued = [descriptor for _, descriptor in self._outbox if descriptor is not None]
        for descriptor in (self._channel.detach(), *self._children, *queued):
            os.close(descriptor)

    def _kill(self, client: int) -> None:
        for child in self._children.values():
            if child.client == client:
                child.kill_group()

    def _reap(self, pidfd: int) -> None:
        child = self._children.pop(pidfd)
        child.kill_group()
        _, status = os.waitpid(child.pid, 0)
        _reached("Reaped")
        self._poll.unregister(pidfd)
        os.close(pidfd)
        code = os.waitstatus_to_exitcode(status)
        self._send(
            {
                "op": "exited",
                "client": child.client,
                "pid": child.pid,
                "exit_code": code if code >= 0 else None,
                "signal": -code if code < 0 else None,
            }
        )

    def _end_children(self) -> None:
        for child in self._children.values():
            child.kill_group()
        for child in self._children.values():
            os.waitpid(child.pid, 0)


def _check_arrival(descriptors: list[int]) -> None:
    """The kernel drops descriptors for which this process has no room."""
    if len(descriptors) < _FDS_OF_A_WORKER:
        raise OSError(errno.EMFILE, "Too many open files in the zygote")


def _own_group(pid: int) -> None:
    """Both sides of the fork do it, so that neither sees the other too early."""
    try:
        os.setpgid(pid, pid)
    except OSError:  # the child has gone, or has done it
        return


def _watch(pid: int) -> int:
    """A pidfd of a child; a child that cannot be watched is not left behind."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _preload(name: str) -> None:
    """Imports a module that the children will share. One that fails will fail where it is used."""
    if name not in sys.modules:
        with contextlib.suppress(Exception):
            __import__(name)
        _standard.reserve()
        gc.freeze()
