"""The class `RayTaskError(ValueError)`: an error of a task that is also of its cause's class.

Invariant: no code of the user's class runs while an instance is made (neither `__new__`, `__init__`
nor `__setattr__`), so a class with unusual arguments does no harm. There is one dual class for each
cause class, as long as somebody uses it.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from skate.exceptions import RayTaskError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Of `RayTaskError`. The instance has them; the user's class may have properties of these names.
_FIELDS = ("function_name", "traceback_str", "cause", "proctitle", "pid", "ip")
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the class was made by a `class` statement

_duals: WeakValueDictionary[type[BaseException], type[RayTaskError]] = WeakValueDictionary()


def dual_of(error: RayTaskError) -> RayTaskError:
    """The same error as an instance of its cause's class, too.

    Raises:
        Exception: whatever a class that must not be subclassed raises.
    """
    return _dual_instance(error, _dual_class(type(error.cause)))


def _dual_class(cause_class: type[BaseException]) -> type[RayTaskError]:
    """The class `RayTaskError(Name)`, made once for each cause class as long as it is used."""
    dual = _duals.get(cause_class)
    if dual is None:
        name = f"RayTaskError({cause_class.__name__})"
        body = {
            "__module__": RayTaskError.__module__,
            "__qualname__": name,
            "__doc__": f"A task raised {cause_class.__name__}.",
            "__init__": _dual_init,
            "__reduce__": _dual_reduce,
            "__reduce_ex__": _dual_reduce_ex,
            "__repr__": _dual_repr,
            "__getattr__": _dual_getattr,
            "__hash__": BaseException.__hash__,
            **{name: _field(name) for name in _FIELDS},
        }
        make: Callable[..., Any] = type(cause_class)
        dual = make(name, (RayTaskError, cause_class), body)
        _duals[cause_class] = dual
    return dual


def _field(name: str) -> property:
    """What the instance has of that name, whatever the user's class has."""

    def read(self: RayTaskError) -> object:
        return vars(self)[name]

    def write(self: RayTaskError, value: object) -> None:
        vars(self)[name] = value

    return property(read, write)


def _dual_instance(error: RayTaskError, dual_class: type[RayTaskError]) -> RayTaskError:
    """An instance of it that runs neither `__new__` nor `__init__` of the user's class.

    The fields that live in C (`errno`, `filename`, `exceptions`, `value` …) are set by the built-in
    base that has them and copied, the others are copied; the rest is asked of the cause.
    """
    cause = error.cause
    builtin: Any = dual_class
    while builtin.__flags__ & _HEAP_TYPE:
        builtin = builtin.__base__  # whose layout it has: no other's `__new__` may make it
    make: Callable[..., RayTaskError] = builtin.__new__
    dual = make(dual_class, *cause.args)
    initialize: Callable[..., None] = builtin.__init__
    initialize(dual, *cause.args)
    _copy_c_fields(builtin, cause, dual)
    vars(dual).update(vars(cause))
    vars(dual).update(vars(error))
    BaseException.args.__set__(dual, (cause,))  # type: ignore[attr-defined]
    return dual


def _copy_c_fields(builtin: type, cause: BaseException, dual: BaseException) -> None:
    """Copies what is not in `args`: `filename` of an OSError, `name` of an ImportError."""
    for base in builtin.__mro__:
        for name, field in vars(base).items():
            if (
                type(field).__name__ in {"member_descriptor", "getset_descriptor"}
                and name[0] != "_"
            ):
                try:
                    field.__set__(dual, field.__get__(cause))
                except (AttributeError, TypeError):  # not set, or read-only and set by `__new__`
                    continue


def _dual_init(self: RayTaskError, *args: object) -> None:
    """Nothing: `_dual_instance` has set the fields."""


def _restore_dual(*fields: object) -> RayTaskError:
    return RayTaskError(*fields).as_instanceof_cause()  # type: ignore[arg-type]


def _dual_reduce(self: RayTaskError) -> tuple[Callable[..., RayTaskError], tuple[object, ...]]:
    return _restore_dual, self._fields()


def _dual_reduce_ex(
    self: RayTaskError, _protocol: object
) -> tuple[Callable[..., RayTaskError], tuple[object, ...]]:
    return _dual_reduce(self)


def _dual_repr(self: RayTaskError) -> str:
    return f"{type(self).__name__}({self.cause!r})"


def _dual_getattr(self: RayTaskError, name: str) -> object:
    if name.startswith("__") or "cause" not in vars(self):
        raise AttributeError(name)
    return getattr(self.cause, name)
