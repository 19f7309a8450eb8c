"""Errors of Ray as skate's own classes of the same names.

Invariant: whatever leaves this engine and is an error of Ray's is one of `skate.exceptions`, with
its text and its fields; a user's exception stays what it is, as the cause.
"""

from __future__ import annotations

import re

from skate import exceptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_HEADING = re.compile(r"ray::([^\s()]*)(?:\(\))? \(pid=(\d+), ip=([^,)]*)")


class translated:  # noqa: N801 - used as a statement
    """Raises skate's error for one of Ray's. A class: a generator cannot raise StopIteration."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if error is not None:
            found = ours(error)
            if found is not error:
                raise found from None


def ours(error: BaseException) -> BaseException:
    """The same error of skate's class; itself, if it is none of Ray's."""
    from ray import exceptions as theirs

    if not isinstance(error, theirs.RayError) or isinstance(error, exceptions.RayError):
        return error
    if isinstance(error, theirs.RayTaskError):
        return _of_task(error).as_instanceof_cause()
    return _plain(_class_of(error), error)


def _of_task(error: Any) -> exceptions.RayTaskError:
    """Of a user's exception. An error of both classes has no fields but its cause and its text."""
    text = _COLOURS.sub("", str(error))
    heading = _HEADING.search(text)
    name, pid, ip = heading.groups() if heading else ("", None, None)
    return exceptions.RayTaskError(
        name, text, ours(error.cause), None, int(pid) if pid else None, ip
    )


def _class_of(error: BaseException) -> type[exceptions.RayError]:
    for kind in type(error).__mro__:
        found = getattr(exceptions, kind.__name__, None)
        if isinstance(found, type) and issubclass(found, exceptions.RayError):
            return found
    return exceptions.RayError


def _plain(kind: Any, error: Any) -> BaseException:
    """Of that class, and with Ray's text: classes that add words of their own get it without."""
    text = str(error)
    if issubclass(kind, exceptions.ActorUnavailableError):
        unavailable = kind(text, getattr(error, "actor_id", None))
        unavailable.error_msg = text  # skate's would name the actor again
        made: BaseException = unavailable
    elif issubclass(kind, exceptions.RayActorError):
        made = kind(
            getattr(error, "actor_id", None),
            text,
            bool(getattr(error, "actor_init_failed", False)),
            bool(getattr(error, "preempted", False)),
        )
    elif issubclass(kind, exceptions.ObjectLostError):
        made = kind(getattr(error, "object_ref_hex", ""), None, text)
    elif issubclass(kind, exceptions.TaskCancelledError):
        task_id = getattr(error, "task_id", None)
        made = kind(None if task_id is None else str(task_id), text)
    elif issubclass(kind, exceptions.RaySystemError):
        made = kind(getattr(error, "client_exc", text), getattr(error, "traceback_str", None))
    elif issubclass(kind, exceptions.RuntimeEnvSetupError):
        made = kind(getattr(error, "error_message", text))
    else:
        made = kind(text)
    return made
