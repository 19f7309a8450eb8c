"""`@remote`: a function that runs in a worker when `.remote(...)` is called.

    function ─ remote ─▶ RemoteFunction ─ .options ─▶ another one, same Definition
                              │ .remote(args)
                              └─ Template of the current session, made at the first call ─▶ submit

Invariant: a call does nothing in Python but to see that the template is of the current session and
that the number of arguments fits. Function and options travel when it is pickled, templates never.
"""

from __future__ import annotations

# ruff: noqa: F811 - `overload` is not the one of `typing` at run time, and ruff sees that one
from skate import _options, _placing, _session
from skate._frames import HIDDEN, REFUSALS
from skate._latest import Latest
from skate.exceptions import TaskUnschedulableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

    from skate._actor_class import ActorClass
    from skate._calls import Call
    from skate._engine import Client, Template
    from skate._generator import ObjectRefGenerator
    from skate._native import ObjectRef
    from skate.dag import FunctionNode

    A = TypeVar("A")
    A_co = TypeVar("A_co", covariant=True)
    P = ParamSpec("P")
    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)
    Y = TypeVar("Y")

    class _Typed(Generic[P, R_co]):
        """At run time a plain class: `typing` takes 10 ms to import."""

    class _Class(Protocol[P, A_co]):
        """A class, told from a function by what only classes have, and its constructor."""

        @property
        def __mro__(self) -> tuple[type, ...]: ...
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> A_co: ...

    class _Decorator(Protocol):
        """What `remote(num_cpus=2)` gives."""

        # As for `remote` itself.
        @overload
        def __call__(  # type: ignore[overload-overlap]
            self, cls: _Class[P, A], /
        ) -> ActorClass[A, P]: ...
        @overload
        def __call__(self, cls: type[A], /) -> ActorClass[A, ...]: ...  # type: ignore[overload-overlap]
        @overload
        def __call__(  # type: ignore[overload-overlap]
            self, function: Callable[P, Iterator[Y]], /
        ) -> RemoteFunction[P, ObjectRefGenerator[Y]]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> RemoteFunction[P, ObjectRef[R]]: ...
        def __call__(self, function: Any, /) -> Any: ...

    class _AnyDecorator(Protocol):
        """What `remote(num_returns=…)` gives: the kind of result is not known to the types."""

        def __call__(self, function: Callable[P, Any], /) -> RemoteFunction[P, Any]: ...

else:
    from skate._untyped import Untyped as _Typed

    def overload(_declaration: object) -> None:
        """For type checkers only."""


_FunctionType = type(lambda: None)
_VARARGS, _GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x04, 0x20, 0x80, 0x200  # CO_… of `inspect`
_UNBOUNDED = 1 << 62


class Definition:
    """A function and what is worked out of it once, shared by all `.options(...)` of it.

    Attributes:
        function: The plain function.
        name: `module.name`.
        least, most: How many positional arguments a call without keywords may have.
    """

    __slots__ = ("_pickled", "_templates", "function", "least", "most", "name")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = f"{function.__module__}.{function.__name__}"
        self.least, self.most = _arity(function)
        self._pickled: Latest[bytes] = Latest()  # by session: it may capture refs of one
        self._templates: Latest[Template] = Latest()

    def is_generator(self) -> bool:
        """Whether its body has a `yield`."""
        return bool(self.function.__code__.co_flags & _GENERATOR)

    def resolved(self, options: dict[str, Any]) -> _options.Resolved:
        """The options as the node wants them."""
        return _options.Resolved(self.name, options, is_generator=self.is_generator())

    def template(self, client: Client, resolved: _options.Resolved) -> Template:
        """The node's handle on this function with these options."""
        _placing.check(client, self.name, resolved, TaskUnschedulableError)
        key = resolved.key()
        template = self._templates.get(client, key)
        if template is None:
            from skate._serialization import dumps_function

            pickled = self._pickled.get(client, None)
            if pickled is None:
                pickled = dumps_function(self.function, self.name)
                self._pickled.add(client, None, pickled)
            if resolved.env:
                from skate._runtime_env import in_env

                function = in_env(
                    self.function, pickled, resolved.env, is_generator=self.is_generator()
                )
                pickled = dumps_function(function, self.name)
            if resolved.max_calls:
                pickled = self._counted(pickled, resolved.max_calls)
            template = client.template(
                self.function.__name__,
                pickled,
                resolved.resources,
                resolved.returns,
                resolved.max_retries,
                resolved.retry_exceptions,
                resolved.window,
                resolved.window_bytes,
                resolved.closes_on_drop,
                resolved.is_strict,
            )
            _options.place(template, resolved.strategy)
            self._templates.add(client, key, template)
        return template

    def _counted(self, pickled: bytes, most: int) -> bytes:
        """The function, pickled, whose worker leaves after so many calls."""
        from functools import partial
        from hashlib import sha256

        from skate._max_calls import Counted
        from skate._serialization import dumps_function
        from skate._within import within

        enter = partial(Counted, sha256(pickled).hexdigest(), most)
        function = within(enter, self.function, pickled, is_generator=self.is_generator())
        return dumps_function(function, self.name)

    def check_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raises the TypeError that such a call would raise, naming the function."""
        from inspect import signature

        try:
            signature(self.function).bind(*args, **kwargs)
        except TypeError as error:
            # The words of `bind` come first: they are what Ray's users match.
            msg = f"{error} (in the call of {self.name})"
            raise TypeError(msg) from None


class RemoteFunction(_Typed["P", "R_co"]):
    """A function to be run in a worker. Made by `remote`.

    Attributes:
        _function: The plain function, to be called directly.
    """

    # No `__getattr__`: it would make each attribute of the hot path five times slower.

    def __init__(self, definition: Definition, options: dict[str, Any]) -> None:
        # One attribute: while a call looks, another thread may begin another session.
        self._bound: tuple[Client | None, Template | None] = (None, None)
        self._pickled_state: tuple[Callable[..., Any], dict[str, Any]] | None = None
        self._define(definition, options)

    def _define(self, definition: Definition, options: dict[str, Any]) -> None:
        self._known_definition = definition
        self._options = options
        self._resolved = definition.resolved(options)
        self._least, self._most = definition.least, definition.most
        self._name = self._resolved.name
        self.__module__: str = definition.function.__module__
        self.__doc__ = definition.function.__doc__
        self.__wrapped__ = definition.function  # for `inspect`

    @property
    def _definition(self) -> Definition:
        """The definition; made at first use of an unpickled one: only then is it complete."""
        if self._pickled_state is not None:
            function, options = self._pickled_state
            self._define(Definition(function), options)
            self._pickled_state = None
        return self._known_definition

    @property
    def _function(self) -> Callable[..., Any]:
        return self._definition.function

    @property
    def __name__(self) -> str:
        return self._definition.function.__name__

    def __call__(self, *_args: object, **_kwargs: object) -> Any:
        """Refuses: a remote function is called by `.remote()`, the plain one is `._function`."""
        name = self._definition.name
        msg = (
            f"Remote functions cannot be called directly. Instead of running '{name}()', try "
            f"'{name}.remote()'."
        )
        with HIDDEN:
            raise TypeError(msg)

    if TYPE_CHECKING:

        @property
        def remote(self) -> Call[P, R_co]: ...

    else:

        def remote(self, *args: Any, **kwargs: Any) -> Any:
            """Runs the function in a worker.

            Args:
                args: For the function. A ref that is an argument by itself is replaced by its value
                    before the function starts; refs inside other values are passed as refs.
                kwargs: Likewise.

            Returns:
                At once: None (`num_returns=0`), a ref (1, `"dynamic"`), a list of refs (more), or
                an `ObjectRefGenerator` (`"streaming"`).

            Raises:
                TypeError: the arguments do not fit the function, or one cannot be pickled.
            """
            client, template = self._bound
            try:
                if template is None or client is not _session.caching:
                    template = self._bind()
                if kwargs or not self._least <= len(args) <= self._most:
                    self._definition.check_arguments(args, kwargs)
                return template.submit(args, kwargs, self._name)
            except REFUSALS as error:
                from skate._culprit import explain_call
                from skate._method import parameters_of

                definition = self._definition
                parameters = parameters_of(definition.function)
                explain_call(error, definition.name, parameters, args, kwargs)
                raise

    def _bind(self) -> Template:
        """Registers the function with the current session, which is started if there is none."""
        client = _session.connect()
        _session.start_helper(client)
        definition = self._definition
        if not client.is_driver:
            from skate._group import capturing
            from skate._runtime_env import inherited

            options = inherited(capturing(client, self._options))
            if options != self._options:  # only for this task, so it is not remembered
                resolved = definition.resolved(options)
                return definition.template(client, resolved)
        template = definition.template(client, self._resolved)
        if self._options.get(_options.CAPTURE):  # whoever calls may be in a group
            return template
        self._bound = client, template
        return template

    @overload
    def options(self, *, num_returns: object, **options: Any) -> RemoteFunction[P, Any]: ...
    @overload
    def options(self, **options: Any) -> RemoteFunction[P, R_co]: ...
    def options(self, **options: Any) -> Any:
        """The same function with other options; those not named stay.

        Raises:
            TypeError: an option has the wrong type.
            ValueError: an option is unknown, out of range, or does not fit the function.

        Rule: semantics.md 2.3; the options are the rows of `_options.TABLE`.
        """
        with HIDDEN:
            if options.get("max_calls") is not None:
                msg = "Setting 'max_calls' is not supported in '.options()'."
                raise ValueError(msg)
            definition = self._definition  # first: an unpickled one has no options before
            return RemoteFunction(definition, {**self._options, **_options.check(options)})

    def _remote(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Ray's older word for `.options(...).remote(...)`."""
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    def bind(self, *args: Any, **kwargs: Any) -> FunctionNode:
        """A call that is made later, by `execute`; see `dag`."""
        from skate.dag import FunctionNode

        return FunctionNode(self, args, kwargs)

    def __repr__(self) -> str:
        return f"<remote function {self._definition.name}>"

    # The object is made before its state, so that a function may refer to itself in its globals.
    def __reduce__(self) -> tuple[Any, ...]:
        function = self._definition.function
        return _blank, (), (function, self._options, function.__module__, function.__doc__)

    def __setstate__(
        self, state: tuple[Callable[..., Any], dict[str, Any], str, str | None]
    ) -> None:
        self._bound = None, None
        function, options, self.__module__, self.__doc__ = state
        self.__wrapped__ = function
        self._pickled_state = function, options


def _blank() -> RemoteFunction[Any, Any]:
    return RemoteFunction.__new__(RemoteFunction)


def _arity(function: Callable[..., Any]) -> tuple[int, int]:
    """How many positional arguments a call without keywords may have."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    if not isinstance(function, _FunctionType) or hasattr(function, "__signature__"):
        return _UNBOUNDED, 0  # `inspect.signature` has to look at each call
    code = function.__code__
    required_keywords = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
    if required_keywords > 0:
        return _UNBOUNDED, 0
    least = code.co_argcount - len(function.__defaults__ or ())
    return least, _UNBOUNDED if code.co_flags & _VARARGS else code.co_argcount


def _make(function: Any, options: dict[str, Any]) -> Any:
    if isinstance(function, type):
        from skate._actor_class import make

        return make(function, options)
    if not isinstance(function, _FunctionType):
        msg = (
            "The @ray.remote decorator must be applied to either a function or a class, but was "
            f"applied to {function!r}."
        )
        raise TypeError(msg)
    if function.__code__.co_flags & (_COROUTINE | _ASYNC_GENERATOR):
        msg = (
            f"'async def' should not be used for remote tasks, but {function.__qualname__} is one. "
            "Wrap it in a plain function that calls `asyncio.run`."
        )
        raise ValueError(msg)
    return RemoteFunction(Definition(function), _options.check(options))


# A class fits the others too, a generator function the third; the first that fits counts.
@overload
def remote(cls: _Class[P, A], /) -> ActorClass[A, P]: ...  # type: ignore[overload-overlap]
@overload  # for pyright, which takes no class for a `_Class`
def remote(cls: type[A], /) -> ActorClass[A, ...]: ...  # type: ignore[overload-overlap]
@overload
def remote(  # type: ignore[overload-overlap]
    function: Callable[P, Iterator[Y]], /
) -> RemoteFunction[P, ObjectRefGenerator[Y]]: ...
@overload
def remote(function: Callable[P, R], /) -> RemoteFunction[P, ObjectRef[R]]: ...
@overload
def remote(*, num_returns: object, **options: Any) -> _AnyDecorator: ...
@overload
def remote(**options: Any) -> _Decorator: ...
def remote(*args: Any, **options: Any) -> Any:
    """Makes a remote function or an actor class: `@remote`, `@remote(num_cpus=2)`, `remote(f)`.

    Args:
        args: Nothing, or the function or class.
        options: See `RemoteFunction.options` and `ActorClass.options`. `num_returns=None` means
            `"streaming"` for a function with `yield`, and 1 for any other.

    Raises:
        AssertionError: it was given something else than one function or only options.
        TypeError: what is decorated is neither function nor class, or an option has the wrong type.
        ValueError: an option is unknown, out of range, or does not fit the function.

    Rule: semantics.md 1.1, 2.1; wording of Ray 2.60.
    """
    if len(args) == 1 and not options and callable(args[0]):
        with HIDDEN:
            return _make(args[0], {})
    if args or not options:
        msg = (
            "The @ray.remote decorator must be applied either with no arguments and no "
            "parentheses, for example '@ray.remote', or it must be applied using some of the "
            "arguments in the list "
            f"{list(_options.TABLE)}, for example '@ray.remote(num_returns=2, "
            'resources={"CustomResource": 1})\'.'
        )
        raise AssertionError(msg)
    from skate import _actor_options

    # What only one of both has is checked when it is known what is decorated.
    of_actors = options.keys() & _actor_options.TABLE.keys()
    with HIDDEN:
        _options.check({name: options[name] for name in options if name not in of_actors})
        _actor_options.check({name: options[name] for name in options if name in of_actors})

    def decorate(function: Any) -> Any:
        with HIDDEN:
            return _make(function, options)

    return decorate
