"""Drivers of the same user, seen from another process.

    /proc/net/unix ─▶ @skate-<pid>-<session> ─▶ Driver: a question in JSON a line, an answer a line

Invariant: whatever a driver does, or whoever pretends to be one, asking ends within `PATIENCE_S`
and in a table, in counters, or in `Refused`, whose text is one line for people.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import time
from pathlib import Path
from typing import Any, NamedTuple

from skate._version import __version__
from skate.cli import Refused
from skate.cli._show import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from types import TracebackType
    from typing import Self

PATIENCE_S = 10.0
_LONGEST = 1 << 30
"""Bytes of an answer: a row of a table takes a few hundred."""
_PIECE = 1 << 20
_NAME = re.compile(r" 00010000 0001 \d\d +\d+ @(skate-(\d+)-([0-9a-f]{16}))$")
"""A line of the kernel's list of Unix sockets: one that listens, with our kind of name."""


class Found(NamedTuple):
    """A driver that may be asked."""

    pid: int
    session: str
    command: str


def drivers() -> list[Found]:
    """The running drivers of this user, by pid; of all users for root."""
    try:
        lines = Path("/proc/net/unix").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise Refused(f"the list of sockets cannot be read: {error.strerror}") from None
    found = set()
    for line in lines:
        if (match := _NAME.search(line)) is None:
            continue
        pid, session = int(match[2]), match[3]
        try:
            is_own = os.geteuid() in {0, Path(f"/proc/{pid}").stat().st_uid}
        except OSError:
            continue  # it has ended, and a child that it forked still has the socket
        if is_own:
            found.add(Found(pid, session, command_of(pid)))
    return sorted(found)


def command_of(pid: int) -> str:
    """The command line of a process, in one line and without what a terminal would obey."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return "?"
    return one_line(" ".join(word.decode(errors="replace") for word in words))


class Driver:
    """A connection to one driver, or with `suffix` "-worker" to one of its workers."""

    def __init__(self, found: Found, suffix: str = "", patience_s: float | None = None) -> None:
        self.pid, self.session = found.pid, found.session
        self._suffix, self._patience_s = suffix, patience_s or PATIENCE_S
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(self._patience_s)
        try:
            self._connect()
        except Refused:
            self._socket.close()
            raise

    def _connect(self) -> None:
        try:
            self._socket.connect(f"\0skate-{self.pid}-{self.session}{self._suffix}")
            peer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        except BlockingIOError:  # nobody takes connections
            raise self._silent() from None
        except OSError:
            raise Refused(f"driver {self.pid} has ended") from None
        _, uid, _ = struct.unpack("iII", peer)
        if os.geteuid() not in {0, uid}:
            raise Refused(f"what listens as driver {self.pid} belongs to the user {uid}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Refuses an answer in which something was not what or where it is said to be."""
        self._socket.close()
        if isinstance(error, AttributeError | LookupError | TypeError):
            raise self.strange() from error

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to a question of rust/native/src/inspect.rs."""
        answer = self._ask(json.dumps(question))
        if not _is_table(answer, question):
            raise self.strange()
        return answer

    def statistics(self) -> dict[str, int]:
        """The counters of `skate.statistics`."""
        answer = self._ask("statistics")
        if not all(type(count) is int for count in answer.values()):
            raise self.strange()
        return answer

    def strange(self) -> Refused:
        """What is said of one whose answer is none."""
        return Refused(
            f"what listens as driver {self.pid} gives no answer of skate {__version__}: is it of "
            f"another version?"
        )

    def stacks(self) -> dict[str, Any]:
        """What its Python code is doing, as skate/_stacks.py says."""
        return self._ask("stacks")

    def _silent(self) -> Refused:
        return Refused(
            f"driver {self.pid} does not answer within {self._patience_s:.0f} s: is it stopped?"
        )

    def _ask(self, line: str) -> dict[str, Any]:
        try:
            self._socket.sendall(line.encode() + b"\n")
            answer = self._line()
        except TimeoutError:
            raise self._silent() from None
        except OSError:
            answer = b""
        if not answer.endswith(b"\n"):
            raise Refused(f"driver {self.pid} has closed the connection: it has ended")
        try:
            known = json.loads(answer)
        except (ValueError, RecursionError):
            raise self.strange() from None
        if not isinstance(known, dict):
            raise self.strange()
        if "error" in known:
            raise Refused(one_line(str(known["error"])))
        return known

    def _line(self) -> bytes:
        """What is said until the end of a line; less if the other side says no more."""
        deadline = time.monotonic() + self._patience_s
        said = bytearray()
        while not said.endswith(b"\n"):
            self._socket.settimeout(max(deadline - time.monotonic(), 1e-3))
            piece = self._socket.recv(_PIECE)
            said += piece
            if not piece:
                break
            if len(said) > _LONGEST or time.monotonic() > deadline:
                raise self.strange()
        return bytes(said)


def _is_table(answer: dict[str, Any], question: dict[str, Any]) -> bool:
    """Whether it has the columns asked for, by default any, rows as long, and their number."""
    columns, rows, total = (answer.get(name) for name in ("columns", "rows", "total"))
    asked = question.get("columns")
    if asked and question.get("is_counted"):
        asked = [*asked, "count"]
    return (
        isinstance(columns, list)
        and all(isinstance(column, str) for column in columns)
        and columns == (asked or columns)
        and isinstance(rows, list)
        and all(isinstance(row, list) and len(row) == len(columns) for row in rows)
        and type(total) is int
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which driver, and how its answer is shown."""
    parser.add_argument(
        "--pid", type=int, metavar="PID", help="of the driver; needed if there are several"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def attach(pid: int | None) -> Driver:
    """The driver with that pid; the only one, if none is named.

    Raises:
        Refused: there is none, or there are several.
    """
    found = drivers()
    if pid is not None:
        found = [each for each in found if each.pid == pid]
        if not found:
            text = f"there is no driver {pid}: no process of yours with that pid has a session"
            raise Refused(f"{text} that may be looked at")
    if not found:
        raise Refused("no driver is running: start a program that uses skate, or say --pid")
    if len(found) > 1:
        pids = ", ".join(f"{each.pid} ({each.command[:40]})" for each in found)
        raise Refused(f"{len(found)} drivers are running: say which with --pid: {pids}")
    return Driver(found[0])
