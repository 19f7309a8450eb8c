"""Graphs of calls that are written first and made later: `.bind()` and `.execute()`.

    with InputNode() as x:
        graph = f.bind(g.bind(x), x)
    ref = graph.execute(3)                 # f.remote(g.remote(3), 3)

Invariant: a node calls nothing until `execute`. In one `execute` each node is called once, however
many others use it; what a node gives goes to the others as a ref, so skate runs them as far at the
same time as the graph allows. A `ClassNode` makes an actor in each `execute`, as in Ray; bind
methods of a handle to keep one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, NoReturn, Self

__all__ = [
    "ClassMethodNode",
    "ClassNode",
    "DAGNode",
    "FunctionNode",
    "InputAttributeNode",
    "InputNode",
    "MultiOutputNode",
]


class _Input:
    """The arguments of one `execute`, and what its nodes have given."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.given: dict[DAGNode, Any] = {}


class DAGNode:
    """A call that is not made yet."""

    def __init__(self, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> None:
        self._args = args
        self._kwargs = kwargs or {}

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Calls this node and all that it needs.

        Args:
            args: For the `InputNode`.
            kwargs: Likewise.

        Returns:
            What `.remote()` gives: a ref, a generator, for a class a handle.
        """
        given = _Input(args, kwargs)
        stack: list[DAGNode] = [self]  # not the interpreter's: a graph may be deep
        while stack:
            node = stack[-1]
            absent = [each for each in node._needs() if each not in given.given]  # noqa: SLF001 - own class
            if absent:
                stack.extend(reversed(absent))
                continue
            stack.pop()
            if node not in given.given:
                given.given[node] = node._call(given)  # noqa: SLF001 - the same
        return given.given[self]

    def experimental_compile(self, *_args: object, **_kwargs: object) -> NoReturn:
        """Refuses: there is nothing to compile."""
        msg = (
            "skate has no compiled graphs: a call of an actor costs microseconds as it is; use "
            "`execute`, or pass a streaming generator from actor to actor"
        )
        raise NotImplementedError(msg)

    def _needs(self) -> Iterator[DAGNode]:
        """The nodes that must have given before this one is called."""
        return _nodes([*self._args, *self._kwargs.values()])

    def _call(self, given: _Input) -> Any:
        """What this node gives in that `execute`; called once in it."""
        raise NotImplementedError

    def _values(self, given: _Input) -> tuple[list[Any], dict[str, Any]]:
        return (
            [_resolve(each, given) for each in self._args],
            {name: _resolve(each, given) for name, each in self._kwargs.items()},
        )


def _nodes(values: Iterable[Any]) -> Iterator[DAGNode]:
    """The nodes among the values, also inside of lists, tuples and dicts."""
    for value in values:
        if isinstance(value, DAGNode):
            yield value
        elif type(value) in {list, tuple}:
            yield from _nodes(value)
        elif type(value) is dict:
            yield from _nodes(value.values())


def _resolve(value: Any, given: _Input) -> Any:
    """The value, with nodes inside of lists, tuples and dicts replaced by what they gave."""
    if isinstance(value, DAGNode):
        return given.given[value]
    if type(value) in {list, tuple}:
        return type(value)(_resolve(each, given) for each in value)
    if type(value) is dict:
        return {key: _resolve(each, given) for key, each in value.items()}
    return value


class InputNode(DAGNode):
    """What `execute` is given: as a whole, or by index, key or attribute."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def __getitem__(self, key: Any) -> InputAttributeNode:
        return InputAttributeNode(key, is_item=True)

    def __getattr__(self, name: str) -> InputAttributeNode:
        if name.startswith("__"):
            raise AttributeError(name)
        return InputAttributeNode(name, is_item=False)

    def _call(self, given: _Input) -> Any:
        if len(given.args) == 1 and not given.kwargs:
            return given.args[0]
        if not given.args and not given.kwargs:
            msg = "the graph has an InputNode, but execute() was called without an argument"
            raise TypeError(msg)
        msg = (
            f"execute() was given {len(given.args)} arguments and {sorted(given.kwargs)}: use "
            "`input_node[0]` or `input_node.name` for each, or give one"
        )
        raise TypeError(msg)


class InputAttributeNode(DAGNode):
    """One of several arguments of `execute`, or an item or attribute of the one."""

    def __init__(self, key: Any, *, is_item: bool) -> None:
        super().__init__()
        self._key = key
        self._is_item = is_item

    def _call(self, given: _Input) -> Any:
        key = self._key
        if len(given.args) == 1 and not given.kwargs:
            whole = given.args[0]
            return whole[key] if self._is_item else getattr(whole, key)
        return given.args[key] if isinstance(key, int) else given.kwargs[key]


class FunctionNode(DAGNode):
    """A call of a remote function."""

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(args, kwargs)
        self._function = function

    def _call(self, given: _Input) -> Any:
        args, kwargs = self._values(given)
        return self._function.remote(*args, **kwargs)


class ClassNode(DAGNode):
    """An actor that is not made yet; its methods have `.bind()`."""

    def __init__(self, cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(args, kwargs)
        self._cls = cls

    def __getattr__(self, name: str) -> _UnboundMethod:
        if name.startswith("_"):
            raise AttributeError(name)
        return _UnboundMethod(self, name)

    def _call(self, given: _Input) -> Any:
        args, kwargs = self._values(given)
        return self._cls.remote(*args, **kwargs)


class _UnboundMethod:
    """A method of an actor that is not made yet."""

    def __init__(self, owner: ClassNode, name: str) -> None:
        self._owner = owner
        self._name = name
        self._options: dict[str, Any] = {}

    def options(self, **options: Any) -> _UnboundMethod:
        """The same with options."""
        made = _UnboundMethod(self._owner, self._name)
        made._options = {**self._options, **options}
        return made

    def bind(self, *args: Any, **kwargs: Any) -> ClassMethodNode:
        """A call of it."""
        return ClassMethodNode(self._owner, self._name, self._options, args, kwargs)


class ClassMethodNode(DAGNode):
    """A call of a method. Calls of one actor are made in the order in which they are reached."""

    def __init__(
        self,
        owner: Any,
        name: str,
        options: dict[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(args, kwargs)
        self._owner = owner
        self._name = name
        self._options = options

    def _needs(self) -> Iterator[DAGNode]:
        return _nodes([self._owner, *self._args, *self._kwargs.values()])

    def _call(self, given: _Input) -> Any:
        actor = _resolve(self._owner, given)
        method = getattr(actor, self._name)
        if self._options:
            method = method.options(**self._options)
        args, kwargs = self._values(given)
        return method.remote(*args, **kwargs)


class MultiOutputNode(DAGNode):
    """Several nodes: `execute` gives a list."""

    def __init__(self, nodes: Sequence[DAGNode]) -> None:
        super().__init__(tuple(nodes))

    def _call(self, given: _Input) -> list[Any]:
        return [_resolve(each, given) for each in self._args]
