"""`@method(...)`: options of an actor's method; and what is known of each method of a class.

    class ─ methods_of ─▶ {name: MethodSpec} ─ pickled with each handle ─▶ every process that calls

Invariant: a spec holds no code of the user's, so a process that only calls needs nothing of the
class. Signatures are kept as plain tuples: a default that cannot be pickled does no harm.
"""

from __future__ import annotations

# ruff: noqa: F811 - `overload` is not the one of `typing` at run time, and ruff sees that one
from skate import _options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, overload

    from skate._calls import Call
    from skate._generator import ObjectRefGenerator
    from skate._native import ObjectRef

    F = TypeVar("F", bound=Callable[..., Any])
    P = ParamSpec("P")
    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)
    C_co = TypeVar("C_co", covariant=True)
    Y = TypeVar("Y")
    Parameter: TypeAlias = tuple[str, int, bool]

    class _Calls(Generic[P, C_co]):
        """A method, seen from outside of the actor."""

        @property
        def remote(self) -> Call[P, C_co]: ...
        def options(self, **options: Any) -> _Calls[P, Any]: ...

    class _Declared(Generic[P, R_co, C_co]):
        """What `@method` makes of a method for type checkers; in fact it is the method itself."""

        @overload
        def __get__(self, instance: None, owner: type, /) -> _Calls[P, C_co]: ...
        @overload
        def __get__(self, instance: object, owner: type, /) -> Callable[P, R_co]: ...
        def __get__(self, instance: object, owner: type, /) -> Any: ...

    class _Decorator(Protocol):
        """What `method(concurrency_group="io")` gives."""

        @overload
        def __call__(  # type: ignore[overload-overlap]
            self, function: Callable[Concatenate[Any, P], AsyncIterator[Y]], /
        ) -> _Declared[P, AsyncIterator[Y], ObjectRefGenerator[Y]]: ...
        @overload
        def __call__(  # type: ignore[overload-overlap]
            self, function: Callable[Concatenate[Any, P], Iterator[Y]], /
        ) -> _Declared[P, Iterator[Y], ObjectRefGenerator[Y]]: ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
        ) -> _Declared[P, Coroutine[Any, Any, R], ObjectRef[R]]: ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[Any, P], R], /
        ) -> _Declared[P, R, ObjectRef[R]]: ...
        def __call__(self, function: Any, /) -> Any: ...

    class _AnyDecorator(Protocol):
        """What `method(num_returns=…)` gives: the kind of result is not known to the types."""

        def __call__(
            self, function: Callable[Concatenate[Any, P], R], /
        ) -> _Declared[P, R, Any]: ...

else:

    def overload(_declaration: object) -> None:
        """For type checkers only."""


OPTIONS_ATTRIBUTE = "__skate_method_options__"
_FUNCTION = type(lambda: None)
_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200  # CO_… of `inspect`
_VARARGS, _VARKEYWORDS = 0x04, 0x08
_POSITIONAL_ONLY, _POSITIONAL, _VAR_POSITIONAL, _KEYWORD_ONLY, _VAR_KEYWORD = range(5)
_UNBOUNDED = 1 << 62


@overload
def method(  # type: ignore[overload-overlap]
    function: Callable[Concatenate[Any, P], AsyncIterator[Y]], /
) -> _Declared[P, AsyncIterator[Y], ObjectRefGenerator[Y]]: ...
@overload
def method(  # type: ignore[overload-overlap]
    function: Callable[Concatenate[Any, P], Iterator[Y]], /
) -> _Declared[P, Iterator[Y], ObjectRefGenerator[Y]]: ...
@overload
def method(
    function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
) -> _Declared[P, Coroutine[Any, Any, R], ObjectRef[R]]: ...
@overload
def method(function: Callable[Concatenate[Any, P], R], /) -> _Declared[P, R, ObjectRef[R]]: ...
@overload
def method(*, num_returns: object, **options: Any) -> _AnyDecorator: ...
@overload
def method(**options: Any) -> _Decorator: ...
def method(*args: Any, **options: Any) -> Any:
    """Gives a method of an actor class options of its own, and calls of it a type.

        @ray.method(num_returns=2, concurrency_group="io")
        def split(self, x): ...

    Args:
        args: Nothing, or the method.
        options: `num_returns`, `concurrency_group`, `max_task_retries`, `retry_exceptions`,
            `generator_backpressure_num_objects`, `enable_task_events`, `name`. What a call names in
            `.options` counts more, what the class names counts less.

    Raises:
        AssertionError: it was given an unknown option, or something else than one method.
        ValueError: an option is out of range.

    Rule: semantics.md 4.16; as Ray 2.60.
    """
    valid = list(_options.METHOD_TABLE)
    if args and (options or len(args) > 1 or not callable(args[0])):
        msg = (
            "The @ray.method decorator must be applied to one method, or with some of the "
            f"arguments in the list {valid}, for example '@ray.method(num_returns=2)'."
        )
        raise AssertionError(msg)
    for name in options:
        if name not in _options.METHOD_TABLE:
            msg = (
                f"Unexpected keyword argument to @ray.method: '{name}'. The supported keyword "
                f"arguments are {valid}"
            )
            raise AssertionError(msg)
    checked = _options.check(options, _options.METHOD_TABLE, "actor methods")

    def decorate(function: F) -> F:
        setattr(function, OPTIONS_ATTRIBUTE, checked)
        return function

    return decorate(args[0]) if args else decorate


class MethodSpec:
    """What a caller must know of a method.

    Attributes:
        name: As it is called.
        full_name: `Class.name`.
        parameters: Name, kind and whether it has a default, of each; None if not known.
        least, most: How many positional arguments a call without keywords may have.
        is_generator: Whether its body has a `yield`.
        is_async: Whether it is an `async def`.
        options: Of `@method`.
    """

    __slots__ = (
        "full_name",
        "is_async",
        "is_generator",
        "least",
        "most",
        "name",
        "options",
        "parameters",
    )

    def __init__(  # noqa: PLR0917 - the fields
        self,
        name: str,
        full_name: str,
        parameters: tuple[Parameter, ...] | None,
        is_generator: bool = False,
        is_async: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.full_name = full_name
        self.parameters = parameters
        self.is_generator = is_generator
        self.is_async = is_async
        self.options = options or {}
        self.least, self.most = _arity(parameters)

    def __reduce__(self) -> tuple[Any, ...]:
        return MethodSpec, (
            self.name,
            self.full_name,
            self.parameters,
            self.is_generator,
            self.is_async,
            self.options,
        )

    def check_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raises the TypeError that such a call would raise, naming class and method."""
        if self.parameters is None:
            return
        from inspect import Parameter as P  # noqa: N817 - one line below
        from inspect import Signature

        kinds = (
            P.POSITIONAL_ONLY,
            P.POSITIONAL_OR_KEYWORD,
            P.VAR_POSITIONAL,
            P.KEYWORD_ONLY,
            P.VAR_KEYWORD,
        )
        signature = Signature(
            [
                P(name, kinds[kind], default=None if has_default else P.empty)
                for name, kind, has_default in self.parameters
            ]
        )
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            # The words of `bind` come first: they are what Ray's users match.
            msg = f"{error} (in the call of {self.full_name})"
            raise TypeError(msg) from None


def _arity(parameters: tuple[Parameter, ...] | None) -> tuple[int, int]:
    if parameters is None:
        return 0, _UNBOUNDED
    least = most = 0
    for _, kind, has_default in parameters:
        if kind in {_POSITIONAL_ONLY, _POSITIONAL}:
            most += 1
            least += not has_default
        elif kind == _VAR_POSITIONAL:
            most = _UNBOUNDED
        elif kind == _KEYWORD_ONLY and not has_default:
            return _UNBOUNDED, 0  # a call without keywords cannot do
    return least, most


def methods_of(cls: type) -> dict[str, MethodSpec]:
    """Every method of a class and its bases, by name."""
    specs: dict[str, MethodSpec] = {}
    for base in reversed(cls.__mro__):
        if base is object:
            continue
        for name, value in vars(base).items():
            spec = _spec(cls.__name__, name, value)
            if spec is not None:
                specs[name] = spec
    for name in ("__ray_ready__", "__ray_terminate__"):
        specs[name] = MethodSpec(name, f"{cls.__name__}.{name}", ())
    name, anything = "__ray_call__", (("fn", 0, False), ("args", 2, False), ("kwargs", 4, False))
    specs[name] = MethodSpec(name, f"{cls.__name__}.{name}", anything)
    return specs


def constructor_of(cls: type) -> MethodSpec:
    """The constructor, for its arguments."""
    constructors = {name: getattr(cls, name) for name in ("__init__", "__new__")}
    of_object = [name for name, each in constructors.items() if each is getattr(object, name)]
    if len(of_object) == len(constructors):
        parameters: tuple[Parameter, ...] | None = ()
    elif "__init__" in of_object:
        parameters = None  # `__new__` has the say, and may be anything
    else:
        parameters = _without_self(parameters_of(constructors["__init__"]))
    return MethodSpec("__init__", f"{cls.__name__}.__init__", parameters)


def _without_self(parameters: tuple[Parameter, ...] | None) -> tuple[Parameter, ...] | None:
    return parameters[1:] if parameters and parameters[0][1] < _VAR_POSITIONAL else parameters


def _spec(class_name: str, name: str, value: object) -> MethodSpec | None:
    has_self = not isinstance(value, staticmethod)
    function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
    if not callable(function) or isinstance(function, type):
        return None
    plain = function
    while hasattr(plain, "__wrapped__"):
        plain = plain.__wrapped__
    if not isinstance(plain, _FUNCTION):
        return None
    parameters = parameters_of(function)
    if has_self:
        parameters = _without_self(parameters)
    flags = plain.__code__.co_flags
    options = getattr(function, OPTIONS_ATTRIBUTE, {})
    return MethodSpec(
        name,
        f"{class_name}.{name}",
        parameters,
        bool(flags & (_GENERATOR | _ASYNC_GENERATOR)),
        bool(flags & (_COROUTINE | _ASYNC_GENERATOR)),
        options,
    )


def parameters_of(function: object) -> tuple[Parameter, ...] | None:
    """Of a function, `self` included; None if nobody knows."""
    while hasattr(function, "__wrapped__") and not hasattr(function, "__signature__"):
        function = function.__wrapped__
    if not isinstance(function, _FUNCTION) or hasattr(function, "__signature__"):
        from inspect import signature

        try:
            found = signature(function)  # type: ignore[arg-type] # it says so if it is not callable
        except (TypeError, ValueError):
            return None
        return tuple(
            (each.name, int(each.kind), each.default is not each.empty)
            for each in found.parameters.values()
        )
    code = function.__code__
    names = code.co_varnames
    defaults, keyword_defaults = function.__defaults__ or (), function.__kwdefaults__ or {}
    count, keyword_only = code.co_argcount, code.co_kwonlyargcount
    parameters: list[Parameter] = [
        (
            names[place],
            _POSITIONAL_ONLY if place < code.co_posonlyargcount else _POSITIONAL,
            place >= count - len(defaults),
        )
        for place in range(count)
    ]
    place = count + keyword_only
    if code.co_flags & _VARARGS:
        parameters.append((names[place], _VAR_POSITIONAL, False))
        place += 1
    parameters += [
        (name, _KEYWORD_ONLY, name in keyword_defaults)
        for name in names[count : count + keyword_only]
    ]
    if code.co_flags & _VARKEYWORDS:
        parameters.append((names[place], _VAR_KEYWORD, False))
    return tuple(parameters)
