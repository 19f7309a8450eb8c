"""Whose frames people see: theirs.

    user's line ─▶ get ─▶ native code raises          traceback: user's line, error
                    └─ except: hide(error); raise

Invariant: `hide` takes away leading frames of skate alone, so what the user's own code raises below
them (`__reduce__`, a property) stays visible. A bare `raise` adds no frame of its own. With
`SKATE_FULL_TRACEBACK=1` all frames stay, for whoever works on skate itself.
"""

from __future__ import annotations

import os
import sys

from skate import _settings
from skate.exceptions import RayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType

# `pathlib` would cost 5 ms at import.
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120
_PICKLERS = f"{os.sep}cloudpickle{os.sep}cloudpickle.py"
_TEXT_MAX = 60

REFUSALS = (RayError, TypeError, ValueError, AttributeError, RuntimeError)
"""What skate raises to say that something is wrong with a call."""


def is_full() -> bool:
    """Whether all frames are to be shown."""
    return bool(_settings.value("full_traceback"))


def is_own(filename: str) -> bool:
    """Whether a file is part of the engine: of skate, or the pickler that it drives."""
    return filename.startswith(_HERE) or filename.endswith(_PICKLERS)


def hide(error: BaseException) -> None:
    """Takes the leading frames of skate from the traceback. To be followed by a bare `raise`."""
    if not is_full():
        error.__traceback__ = _users(error.__traceback__)


class _Hidden:
    """`with HIDDEN:` around what may refuse; `try` and `hide` do the same where it must be fast."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, REFUSALS):
            hide(error)


HIDDEN = _Hidden()


def _users(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and is_own(traceback.tb_frame.f_code.co_filename):
        traceback = traceback.tb_next
    return traceback


def users_cause(error: BaseException) -> BaseException | None:
    """The error itself if code of the user's raised it, as a cause worth showing; else None."""
    users = _users(error.__traceback__)
    if users is None and not is_full():
        return None
    hide(error)
    return error


def with_sources(text: str) -> str:
    """A remote traceback with the lines of code that only this process knows: cells of notebooks.

    Workers have the functions and not the text of a cell, so they name lines without showing them.
    """
    import linecache
    import re

    lines, shown = text.split("\n"), []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        shown.append(line)
        frame = re.match(r'  File "([^"]+)", line (\d+)', line)
        if frame is None or after.startswith("    "):
            continue
        if source := linecache.getline(frame[1], int(frame[2])).strip():
            shown.append(f"    {source}")
    return "\n".join(shown)


def arguments(error: BaseException) -> str:
    """`path='a.csv', rows=<list of 300>`: those of the outermost function of the user's; or "".

    They are as they were when it raised. No code of the user's runs: only plain values are shown,
    of others their kind and size. `SKATE_ERROR_ARGUMENTS=0` shows none.
    """
    users = _users(error.__traceback__)
    if users is None or not _settings.value("error_arguments"):
        return ""
    return ", ".join(_arguments(users.tb_frame))


def _arguments(frame: FrameType) -> list[str]:
    code, values = frame.f_code, frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount
    stars = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)  # CO_VARARGS, CO_VARKEYWORDS
    names = code.co_varnames[: count + stars]
    if names and names[0] in {"self", "cls"}:
        names = names[1:]
    return [f"{name}={brief(values[name])}" for name in names if name in values]


def brief(value: object) -> str:
    """A plain value as it is written, cut; of anything else kind and size."""
    kind = type(value)
    if value is None or kind in {bool, int, float, complex, str, bytes}:
        try:
            text = repr(value[: _TEXT_MAX + 1] if isinstance(value, str | bytes) else value)
        except ValueError:  # an integer of too many digits
            return "<int>"
        return text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"
    if kind in {list, tuple, dict, set, frozenset}:
        return f"<{kind.__name__} of {len(value)}>"  # type: ignore[arg-type] # one of these five
    numpy = sys.modules.get("numpy")
    if numpy is not None and kind is numpy.ndarray:
        return f"<ndarray {value.shape} {value.dtype}>"  # type: ignore[attr-defined]
    return f"<{kind.__qualname__}>"
