"""Finds the innermost thing that cannot be pickled, for the text of an error.

Invariant: read-only and bounded: it pickles parts of the value, at most `_TRIES` of them and
`_DEPTH` levels deep, and runs no other code of the user's than what looking at a value may run,
such as a property named `__dict__`. What that raises ends the search at that value, no more: the
error that is being explained is the one that is told.
"""

from __future__ import annotations

import _thread
import functools
import io
import types
from contextlib import suppress

from skate import _session
from skate._actor_handle import ActorHandle
from skate._frames import hide
from skate._generator import ObjectRefGenerator
from skate._pickler import Pickler, registered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    from skate._method import Parameter

    T = TypeVar("T")

_TRIES = 1000
_DEPTH = 50
_POSITIONAL = 1  # `inspect.Parameter.POSITIONAL_OR_KEYWORD`
_NOT_PICKLED = frozenset({"__dict__", "__weakref__", "__globals__", "__closure__"})


class _Sink(io.RawIOBase):
    """Takes bytes and forgets them."""

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        return memoryview(data).nbytes  # type: ignore[arg-type]


class _Looking:
    """What is packed so that something can be looked at meanwhile."""

    def __init__(self, look: Callable[[], Any]) -> None:
        self._look = look
        self.seen: Any = None

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        self.seen = self._look()
        return object, ()


def while_packing(look: Callable[[], T]) -> T:
    """What a function returns that tries to pickle things, called while skate packs a value.

    The refs that it pickles are then held by that value, which is gone at once. Outside of a call
    of skate they would be held for the session, and streaming generators would be refused.
    """
    client = _session.client
    if client is None:
        return look()
    looking = _Looking(look)
    client.round_trip(looking)
    seen: T = looking.seen
    return seen


def failure(value: object) -> Exception | None:
    """What the pickler says of a value; None if it can be pickled."""
    try:
        Pickler(_Sink(), 5, buffer_callback=lambda _: False).dump(value)
    except Exception as error:
        return error
    return None


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    text = ""
    with suppress(Exception):
        text = str(error)
    text = text or kind
    return text if kind in {"TypeError", "PicklingError", "AttributeError"} else f"{kind}: {text}"


def explain(value: object, label: str, error: Exception) -> str:
    """`cannot pickle '_thread.lock' object: found at value['a'].lock`.

    Args:
        value: What could not be pickled.
        label: How to call it.
        error: What the pickler said of the whole.
    """
    path, tries, seen = label, _TRIES, {id(value)}
    for _ in range(_DEPTH):
        for step, part in _parts(value, path):
            tries -= 1
            if tries < 0:
                break
            if id(part) in seen:
                continue
            inner = failure(part)
            if inner is not None:
                seen.add(id(part))
                path, value, error = step, part, inner
                break
        else:
            break
        if tries < 0:
            break
    found = "" if path == label else f": found at {path}"
    return f"{_reason(error)}{found}{_advice(value)}"


_ADVICE = (
    ((types.GeneratorType, types.AsyncGeneratorType), "Pass a list, or a remote generator"),
    ((types.CoroutineType,), "Pass what it returns: await it first"),
    ((type(_thread.allocate_lock()), _thread.RLock), "Make the lock where it is used, in the task"),
    ((io.IOBase,), "Pass the path, and open the file in the task"),
    ((types.FrameType, types.TracebackType), "Pass its text: `traceback.format_exc()`"),
)
"""What to do instead with things that belong to one process."""

_ADVICE_BY_MODULE = {
    "_socket": "Pass the address, and connect in the task",
    "socket": "Pass the address, and connect in the task",
    "sqlite3": "Pass the path, and connect in the task",
    "threading": "Make it where it is used, in the task",
}


def _advice(culprit: object) -> str:
    """` (Pass the path, and open the file in the task.)`, or nothing."""
    with suppress(Exception):  # of a property named `__class__`, or of a metaclass
        for kinds, advice in _ADVICE:
            if isinstance(culprit, kinds):
                return f" ({advice}.)"
        if advice := _ADVICE_BY_MODULE.get(type(culprit).__module__, ""):
            return f" ({advice}.)"
    return ""


def culprits(value: object, label: str, depth: int) -> Iterator[tuple[object, str, object]]:
    """The innermost parts, at most `depth` levels down, that cannot be pickled.

    Yields:
        The part, the way to it, and what contains it.
    """
    level, seen, tries = [(value, label, value)], {id(value)}, _TRIES
    for _ in range(depth):
        deeper = []
        for whole, path, parent in level:
            inside = []
            for step, part in _parts(whole, path):
                tries -= 1
                if tries < 0:
                    break
                if id(part) not in seen and failure(part) is not None:
                    seen.add(id(part))
                    inside.append((part, step, whole))
            if inside:
                deeper += inside
            else:
                yield whole, path, parent
        level = deeper
    yield from level


def _parts(value: object, path: str) -> Iterator[tuple[str, object]]:
    """What a pickle of the value contains, each with its path, as far as it lets itself be seen."""
    with suppress(Exception):
        yield from _contents(value, path)


def _contents(value: object, path: str) -> Iterator[tuple[str, object]]:  # noqa: C901 - one table
    if type(value) in registered or isinstance(value, ObjectRefGenerator | ActorHandle):
        return  # its serializer decides what travels
    match value:
        case dict():
            for key, item in value.items():
                yield f"{path}[{short(key)}]", item
                yield f"{path} (key {short(key)})", key
        case list() | tuple():
            for index, item in enumerate(value):
                yield f"{path}[{index}]", item
        case set() | frozenset():
            for item in value:
                yield f"{path} (element {short(item)})", item
        case types.FunctionType():
            yield from _captured(value, path)
        case types.MethodType():
            yield f"{path}.__self__", value.__self__
            yield f"{path}.__func__", value.__func__
        case functools.partial():
            yield f"{path}.func", value.func
            yield f"{path}.args", value.args
            yield f"{path}.keywords", value.keywords
    for name, item in _attributes(value).items():
        yield f"{path}.{name}", item


def _attributes(value: object) -> dict[str, object]:
    """What `__dict__` and `__slots__` hold; of a class, what its body defined."""
    if isinstance(value, type):
        return {name: item for name, item in vars(value).items() if name not in _NOT_PICKLED}
    attributes: dict[str, object] = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        for name, descriptor in vars(kind).items():
            if isinstance(descriptor, types.MemberDescriptorType) and name not in _NOT_PICKLED:
                try:
                    attributes[name] = descriptor.__get__(value, kind)
                except AttributeError:  # not set
                    continue
    return attributes


def _captured(function: types.FunctionType, path: str) -> Iterator[tuple[str, object]]:
    """Enclosing variables, globals, defaults and attributes that go with a function."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"{name} (captured by {path})", cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    pending = [function.__code__]
    names: set[str] = set()
    while pending:
        code = pending.pop()
        names.update(code.co_names)
        pending.extend(const for const in code.co_consts if isinstance(const, types.CodeType))
    for name in sorted(names & function.__globals__.keys()):
        yield f"{name} (global used by {path})", function.__globals__[name]
    for index, default in enumerate(function.__defaults__ or ()):
        yield f"{path}.__defaults__[{index}]", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f"{path}.__kwdefaults__[{name!r}]", default


def explain_call(
    error: BaseException,
    name: str,
    parameters: tuple[Parameter, ...] | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Makes the error of a call one about the user's own names; to be followed by a bare `raise`.

    Args:
        error: What the call raised; its text may be replaced.
        name: Of the function.
        parameters: Of the function, if they are known.
        args: Of the call.
        kwargs: Of the call.
    """
    hide(error)
    if type(error) is not TypeError or not str(error).startswith("Could not serialize the arg"):
        return
    names = [each for each, kind, _ in parameters or () if kind <= _POSITIONAL]
    names += [f"args[{place}]" for place in range(len(names), len(args))]

    def blame() -> None:
        for label, value in (*zip(names, args, strict=False), *kwargs.items()):
            _blame(error, name, label, value)

    while_packing(blame)


def _blame(error: TypeError, name: str, label: str, value: object) -> None:
    reason = failure(value)
    if reason is not None:
        text = explain(value, label, reason)
        error.args = (f"Could not serialize the argument {label} of {name}: {text}",)


def short(value: object) -> str:
    """Its `repr`, cut."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else text[:37] + "..."  # noqa: PLR2004
