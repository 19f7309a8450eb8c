"""`ActorClass`: a class whose instances live in processes of their own.

    class ─ remote ─▶ ActorClass ─ .options ─▶ another one, same ActorDefinition
                          │ .remote(args)
                          └─ Template of the current session ─▶ create ─▶ ActorHandle

Invariant: a call waits for nothing, unless the actor has a name: then the node is asked whether it
is free. Class and options travel when it is pickled, templates never.
"""

from __future__ import annotations

from skate import _actor_options, _options, _placing, _session
from skate._actor_handle import ActorHandle, ActorSpec, spec_of
from skate._actor_options import ActorOptions
from skate._frames import HIDDEN, REFUSALS
from skate._latest import Latest
from skate._method import constructor_of, methods_of
from skate.exceptions import ActorUnschedulableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, NoReturn, TypeAlias, overload

    from typing_extensions import ParamSpec, TypeVar

    from skate._calls import Call
    from skate._engine import Client, Template
    from skate.dag import ClassNode

    T = TypeVar("T")
    # What the constructor takes; who writes `ActorClass[T]` leaves it open.
    P = ParamSpec("P", default=...)
    Names: TypeAlias = tuple[str, str, str, str | None]

    class _Typed(Generic[T, P]):
        """At run time a plain class: `typing` takes 10 ms to import."""

else:

    def overload(_declaration: object) -> None:
        """For type checkers only."""

    from skate._untyped import Untyped as _Typed


class ActorClassInheritanceException(TypeError):  # noqa: N818 - Ray's name
    """A class was derived from an actor class."""


class ActorDefinition:
    """A class and what is worked out of it once, shared by all `.options(...)` of it.

    Attributes:
        cls: The plain class.
        name: `module.name`.
        methods: By name.
        constructor: For its arguments.
        is_async: Whether a method is an `async def`.
    """

    __slots__ = ("_pickled", "_templates", "cls", "constructor", "is_async", "methods", "name")

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.name = f"{cls.__module__}.{cls.__qualname__}"
        self.methods = methods_of(cls)
        self.constructor = constructor_of(cls)
        self.is_async = any(spec.is_async for spec in self.methods.values())
        self._pickled: Latest[bytes] = Latest()  # by session: it may capture refs of one
        self._templates: Latest[Template] = Latest()

    def resolved(self, options: dict[str, Any]) -> ActorOptions:
        """The options as the node wants them."""
        return ActorOptions(self.name, options, is_async=self.is_async)

    def template(self, client: Client, resolved: ActorOptions) -> Template:
        """The node's handle on this class with these options."""
        _placing.check(client, self.name, resolved, ActorUnschedulableError)
        env = repr(resolved.env) if resolved.env else ""
        lanes = tuple(resolved.lanes)
        strategy = _options.strategy_key(resolved.strategy)
        key = (resolved.resources, resolved.serves, lanes, resolved.window, strategy, env)
        template = self._templates.get(client, key)
        if template is None:
            from skate._serialization import dumps_function

            pickled = self._pickled.get(client, None)
            if pickled is None:
                pickled = dumps_function(self.cls, self.name)
                self._pickled.add(client, None, pickled)
            if resolved.env:
                from skate._runtime_env import ClassInEnv

                pickled = dumps_function(ClassInEnv(pickled, resolved.env), self.name)
            template = client.constructor(
                self.cls.__name__,
                pickled,
                resolved.resources,
                resolved.serves,
                resolved.lanes,
                resolved.window,
            )
            _options.place(template, resolved.strategy)
            self._templates.add(client, key, template)
        return template

    def spec(self, resolved: ActorOptions) -> ActorSpec:
        """What callers must know of an actor with these options."""
        from cloudpickle import dumps

        fields = (
            self.cls.__name__,
            self.methods,
            resolved.groups,
            resolved.max_task_retries,
            resolved.retry_exceptions,
            resolved.max_pending_calls,
        )
        return spec_of(dumps(fields, protocol=5))


class ActorClass(_Typed["T", "P"]):
    """A class whose instances are actors. Made by `remote`."""

    def __init__(self, definition: ActorDefinition, options: dict[str, Any]) -> None:
        self._pickled_state: tuple[type, dict[str, Any]] | None = None
        self._define(definition, options)

    def _define(self, definition: ActorDefinition, options: dict[str, Any]) -> None:
        self._known_definition = definition
        self._options = options
        self._resolved = definition.resolved(options)
        self._known_spec: ActorSpec | None = None
        self._take_names(_names_of(definition.cls))

    def _take_names(self, names: Names) -> None:
        self.__name__, self.__qualname__, self.__module__, self.__doc__ = names

    @property
    def _definition(self) -> ActorDefinition:
        """The definition; made at first use of an unpickled one: only then is it complete."""
        if self._pickled_state is not None:
            cls, options = self._pickled_state
            self._define(ActorDefinition(cls), options)
            self._pickled_state = None
        return self._known_definition

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        """Refuses: an actor is made by `.remote()`."""
        name = self._definition.cls.__qualname__
        msg = (
            f"Actors cannot be instantiated directly. Instead of '{name}()', use '{name}.remote()'."
        )
        with HIDDEN:
            raise TypeError(msg)

    if TYPE_CHECKING:

        @property
        def remote(self) -> Call[P, ActorHandle[T]]: ...

    else:

        def remote(self, *args: Any, **kwargs: Any) -> ActorHandle[T]:
            """Makes an actor: a process of its own with an instance of the class.

            Args:
                args: For the constructor. A ref that is an argument by itself is replaced by its
                    value first; refs inside other values are passed as refs.
                kwargs: Likewise.

            Returns:
                A handle, at once; the constructor may still run, or wait for resources. If it
                raises, every call does.

            Raises:
                TypeError: the arguments do not fit the constructor, or one cannot be pickled.
                ValueError: another actor has the name (`ActorAlreadyExistsError`).
            """
            try:
                return self._create(args, kwargs)
            except REFUSALS as error:
                from skate._culprit import explain_call

                constructor = self._definition.constructor
                explain_call(error, constructor.full_name, constructor.parameters, args, kwargs)
                raise

    def _create(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorHandle[T]:
        definition = self._definition
        constructor = definition.constructor
        if kwargs or not constructor.least <= len(args) <= constructor.most:
            constructor.check_arguments(args, kwargs)
        client = _session.connect()
        _session.start_helper(client)
        resolved = self._resolved
        if not client.is_driver:
            from skate._group import capturing
            from skate._runtime_env import inherited

            options = inherited(capturing(client, self._options))
            if options != self._options:
                resolved = definition.resolved(options)
        spec = self._known_spec
        if spec is None:
            spec = self._known_spec = definition.spec(resolved)
        name = None
        if resolved.name is not None:
            name = (resolved.namespace or _session.current_namespace, resolved.name)
        ref, packed, _ = client.ActorRef.create(
            definition.template(client, resolved),
            args,
            kwargs,
            name,
            resolved.placing,
            resolved.max_restarts,
            resolved.is_detached,
            resolved.in_order,
            resolved.lanes,
            spec.packed,
        )
        if packed is not None:  # somebody else has the name
            if not resolved.get_if_exists:
                _refuse_name(resolved.name, resolved.namespace)
            spec = spec_of(packed)
        return ActorHandle(ref, spec)

    def options(self, **options: Any) -> ActorClass[T, P]:
        """The same class with other options; those not named stay.

        Raises:
            TypeError: an option has the wrong type.
            ValueError: an option is unknown or out of range.

        Rule: semantics.md 4.3 to 4.13; the options are the rows of `_actor_options.TABLE`.
        """
        with HIDDEN:
            definition = self._definition  # first: an unpickled one has no options before
            return ActorClass(definition, {**self._options, **_actor_options.check(options)})

    def _remote(self, args: Any = None, kwargs: Any = None, **options: Any) -> ActorHandle[T]:
        """Ray's older word for `.options(...).remote(...)`."""
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    def bind(self, *args: Any, **kwargs: Any) -> ClassNode:
        """An actor that is made later, by `execute`; see `dag`."""
        from skate.dag import ClassNode

        return ClassNode(self, args, kwargs)

    def __mro_entries__(self, _bases: tuple[object, ...]) -> tuple[type, ...]:
        # Raises from inside of the `class` statement, where the name of the class is known.
        base_name = self._definition.cls.__name__

        def refuse(cls: type) -> None:
            msg = (
                f"Attempted to define subclass '{cls.__name__}' of actor class '{base_name}'. "
                "Inheriting from actor classes is not currently supported. You can instead inherit "
                "from a non-actor base class and make the derived class an actor class (with "
                "@ray.remote)."
            )
            raise ActorClassInheritanceException(msg)

        return (type(base_name, (), {"__init_subclass__": classmethod(refuse)}),)

    def __getattr__(self, name: str) -> Any:
        """What the plain class has: constants, static methods."""
        if name.startswith("_"):
            msg = f"'ActorClass' object has no attribute '{name}'"
            raise AttributeError(msg)
        return getattr(self._definition.cls, name)

    def __repr__(self) -> str:
        return f"ActorClass({self._definition.cls.__name__})"

    # The object is made before its state, so that a class may refer to itself in its globals.
    def __reduce__(self) -> tuple[Any, ...]:
        cls = self._definition.cls
        return _blank, (), (cls, self._options, _names_of(cls))

    def __setstate__(self, state: tuple[type, dict[str, Any], Names]) -> None:
        cls, options, names = state
        self._take_names(names)
        self._pickled_state = cls, options


def _blank() -> ActorClass[Any]:
    return ActorClass.__new__(ActorClass)


def _names_of(cls: type) -> Names:
    return cls.__name__, cls.__qualname__, cls.__module__, cls.__doc__


def _refuse_name(name: str | None, namespace: str | None) -> NoReturn:
    from skate.exceptions import ActorAlreadyExistsError

    msg = (
        f"The name {name} (namespace={namespace}) is already taken. Please use a different name or "
        f"get the existing actor using ray.get_actor('{name}', namespace='{namespace}')"
    )
    raise ActorAlreadyExistsError(msg)


def make(cls: type, options: dict[str, Any]) -> ActorClass[Any]:
    """Makes an actor class of a class."""
    return ActorClass(ActorDefinition(cls), _actor_options.check(options))
