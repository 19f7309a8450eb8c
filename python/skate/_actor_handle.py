"""`ActorHandle`: an actor, seen by those who call it; `ActorMethod`: one of its methods.

    handle.method ─▶ ActorMethod ─ .options ─▶ another one
                        │ .remote(args)
                        └─ Template of the current session, made at the first call ─▶ submit

Invariant: a handle keeps what its engine must hear of in an `Actor`, which methods share: there is
no cycle, so the last `del` ends the actor at once. What travels of them carries its `ActorSpec`,
so whoever gets it needs neither the class nor a question.
"""

from __future__ import annotations

from skate import _options, _session
from skate._frames import HIDDEN, REFUSALS
from skate._ids import ActorID
from skate._latest import Latest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, NoReturn, TypeVar

    from skate._engine import Actor, Client, Template
    from skate._method import MethodSpec
    from skate.dag import FunctionNode

    T = TypeVar("T")

    class _Typed(Generic[T]):
        """At run time a plain class: `typing` takes 10 ms to import."""

else:
    from skate._untyped import Untyped

    class _Typed(Untyped):
        """With a `__dict__` and weak references."""


class ActorSpec:
    """What a caller must know of an actor.

    Attributes:
        class_name: Of its class.
        methods: By name.
        groups: Names of the concurrency groups, the default one ("") first.
        max_task_retries, retry_exceptions: Defaults of its methods.
        max_pending_calls: 0 for no limit.
        packed: The rest, pickled.
    """

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        self.class_name: str
        self.methods: dict[str, MethodSpec]
        self.groups: list[str]
        import pickle  # takes 15 ms, which `import skate` must not

        (
            self.class_name,
            self.methods,
            self.groups,
            self.max_task_retries,
            self.retry_exceptions,
            self.max_pending_calls,
        ) = pickle.loads(packed)
        self._templates: Latest[Template] = Latest()

    def template(self, client: Client, method: MethodSpec, options: dict[str, Any]) -> Template:
        """The node's handle on a method with these options, which count more than the method's."""
        merged = {**method.options, **options}
        returns = _options.returns_of(merged.get("num_returns"), is_generator=method.is_generator)
        retries = merged.get("max_task_retries")
        retries = self.max_task_retries if retries is None else min(retries, 2**31 - 1)
        retry_exceptions = merged.get("retry_exceptions", self.retry_exceptions)
        key = (
            method.name,
            returns,
            retries,
            _options.retry_exceptions_of(retry_exceptions),
            _options.window_of(_options.WINDOW, merged.get(_options.WINDOW), returns),
            _options.window_of(_options.WINDOW_BYTES, merged.get(_options.WINDOW_BYTES), returns),
            _options.closes_on_drop_of(merged.get(_options.ON_DROP), returns),
            _options.is_strict_of(merged.get(_options.STRICT), returns),
            self._lane(method, merged.get("concurrency_group")),
        )
        template = self._templates.get(client, key)
        if template is None:
            template = client.method(method.full_name, *key)
            self._templates.add(client, key, template)
        return template

    def _lane(self, method: MethodSpec, group: str | None) -> int:
        try:
            return self.groups.index(group or "")
        except ValueError:
            msg = (
                f"The concurrency group {group!r} of {method.full_name} is not one of the actor's: "
                f"{self.groups[1:]}"
            )
            raise ValueError(msg) from None


_specs: Latest[ActorSpec] = Latest()


def spec_of(packed: bytes) -> ActorSpec:
    """The spec of these bytes, unpickled once while it is among the latest."""
    client = _session.client
    spec = _specs.get(client, packed)
    if spec is None:
        spec = ActorSpec(packed)
        _specs.add(client, packed, spec)
    return spec


class ActorMethod:
    """A method of an actor, to be called with `.remote()`."""

    __slots__ = ("_bound", "_least", "_most", "_name", "_options", "_ref", "_spec", "_whole")

    def __init__(
        self, ref: Actor, whole: ActorSpec, spec: MethodSpec, options: dict[str, Any]
    ) -> None:
        self._ref = ref
        self._whole = whole
        self._spec = spec
        self._options = options
        self._least, self._most = spec.least, spec.most
        self._name: str | None = options.get("name", spec.options.get("name"))
        # One attribute: while a call looks, another thread may begin another session.
        self._bound: tuple[Client | None, Template | None] = (None, None)

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        """Refuses: a method of an actor is called by `.remote()`."""
        name = self._spec.name
        msg = (
            f"Actor methods cannot be called directly. Instead of running 'object.{name}()', try "
            f"'object.{name}.remote()'."
        )
        with HIDDEN:
            raise TypeError(msg)

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the method in the actor's process.

        Args:
            args: For the method. A ref that is an argument by itself is replaced by its value
                before the call starts; refs inside other values are passed as refs.
            kwargs: Likewise.

        Returns:
            At once: None (`num_returns=0`), a ref (1, `"dynamic"`), a list of refs (more), or an
            `ObjectRefGenerator` (`"streaming"`, the default for a method with `yield`).

        Raises:
            TypeError: the arguments do not fit the method, or one cannot be pickled.
            PendingCallsLimitExceeded: the actor has `max_pending_calls` calls of this process.
            RaySystemError: the actor belongs to a session that has ended.
        """
        client, template = self._bound
        try:
            if template is None or client is not _session.client:
                template = self._bind()
            if kwargs or not self._least <= len(args) <= self._most:
                self._spec.check_arguments(args, kwargs)
            if self._whole.max_pending_calls:
                self._check_pending()
            return self._ref.submit(template, args, kwargs, self._name)
        except REFUSALS as error:
            from skate._culprit import explain_call

            explain_call(error, self._spec.full_name, self._spec.parameters, args, kwargs)
            raise

    def _bind(self) -> Template:
        client = _session.of(self)
        template = self._whole.template(client, self._spec, self._options)
        self._bound = client, template
        return template

    def _check_pending(self) -> None:
        most = self._whole.max_pending_calls
        if self._ref.calls_under_way() >= most:
            from skate.exceptions import PendingCallsLimitExceeded

            msg = (
                f"The task {self._spec.name} could not be submitted to "
                f"{_describe(self._ref, self._whole)} because more than {most} tasks are queued on "
                "the actor. This limit can be adjusted with the `max_pending_calls` actor option."
            )
            raise PendingCallsLimitExceeded(msg)

    def options(self, **options: Any) -> ActorMethod:
        """The same method with other options; those not named stay.

        Raises:
            TypeError: an option has the wrong type.
            ValueError: an option is unknown or out of range.

        Rule: semantics.md 4.9, 4.13, 4.16.
        """
        with HIDDEN:
            checked = _options.check(options, _options.METHOD_TABLE, "actor methods")
        return ActorMethod(self._ref, self._whole, self._spec, {**self._options, **checked})

    def _remote(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Ray's older word for `.options(...).remote(...)`."""
        return self.options(**options).remote(*(args or ()), **(kwargs or {}))

    def bind(self, *args: Any, **kwargs: Any) -> FunctionNode:
        """A call that is made later, by `execute`; see `dag`."""
        from skate.dag import FunctionNode

        return FunctionNode(self, args, kwargs)

    def __repr__(self) -> str:
        return f"<remote method {self._spec.full_name} of actor {self._ref.hex()}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return restore_method, (self._ref, self._whole.packed, self._spec.name, self._options)


def restore_method(ref: Actor, packed: bytes, name: str, options: dict[str, Any]) -> ActorMethod:
    """The method that `ActorMethod.__reduce__` wrote."""
    whole = spec_of(packed)
    return ActorMethod(ref, whole, whole.methods[name], options)


def _no_method(spec: ActorSpec | None, name: str) -> AttributeError:
    text = f"'ActorHandle' object has no attribute '{name}'"
    if spec is None or name.startswith("__"):
        return AttributeError(text)
    methods = [each for each in spec.methods if not each.startswith("__")]
    meant = _options.did_you_mean(name, methods)
    if spec.methods:
        some = next(iter(spec.methods.values())).full_name.rpartition(".")[0]
        text += f": {some} has no such method.{meant or f' It has {methods}.'}"
    return AttributeError(text)


class ActorHandle(_Typed["T"]):
    """An actor. Its methods are attributes with `.remote()`.

    Equal and of the same hash for the same actor. It can be passed, returned, put and captured;
    while anybody holds one, the actor lives.
    """

    _ref: Actor
    _spec: ActorSpec

    def __init__(self, ref: Actor, spec: ActorSpec) -> None:
        self._ref = ref
        self._spec = spec

    # Called for what is not in `__dict__`: the first use of each method.
    def __getattr__(self, name: str) -> ActorMethod:
        spec = self.__dict__.get("_spec")
        method = spec.methods.get(name) if spec is not None else None
        if spec is None or method is None:
            with HIDDEN:
                raise _no_method(spec, name)
        made = ActorMethod(self._ref, spec, method, {})
        self.__dict__[name] = made
        return made

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._spec.methods})  # one that was used is in both

    @property
    def _actor_id(self) -> ActorID:
        return ActorID(self._ref.binary())

    @property
    def _ray_actor_id(self) -> ActorID:
        return ActorID(self._ref.binary())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and self._ref == other._ref

    def __hash__(self) -> int:
        return hash(self._ref)

    def __repr__(self) -> str:
        return _describe(self._ref, self._spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, (self._ref, self._spec.packed)


def restore(ref: Actor, packed: bytes) -> ActorHandle[Any]:
    """The handle that `ActorHandle.__reduce__` wrote."""
    return ActorHandle(ref, spec_of(packed))


def _describe(ref: Actor, spec: ActorSpec) -> str:
    return f"Actor({spec.class_name}, {ref.hex()})"
