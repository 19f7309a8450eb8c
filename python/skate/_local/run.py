"""One task as the code that runs for it sees it: `get_runtime_context()` asks here.

Invariant: `current` is the innermost task of this thread, or of this asyncio task. Whoever sets it
does so within the `try` that sets it back, so that Ctrl-C cannot leave it.
"""

from __future__ import annotations

from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from skate._local.actors import LocalActor
    from skate._local.calls import Template


class Run:
    """One task.

    Attributes:
        task: Its id, 24 bytes.
        name: For people.
        template: What was called.
        actor: Whose method it is, or None.
        parent: The task that called it, or None.
        attempt: 0 for the first.
        function: What runs, once that is known.
        is_cancelled: By `cancel`.
        consumed: Items that this attempt took, by the id of a stream that was passed to it.
    """

    __slots__ = ("actor", "attempt", "consumed", "function", "is_cancelled", "name", "parent",
                 "task", "template")  # fmt: skip

    def __init__(
        self, task: bytes, name: str, template: Template, actor: LocalActor | None
    ) -> None:
        self.task = task
        self.name = name
        self.template = template
        self.actor = actor
        self.parent = current.get()
        self.attempt = 0
        self.function: Callable[..., Any] | None = None
        self.is_cancelled = False
        self.consumed: dict[bytes, int] = {}

    def has_ancestor(self, other: Run) -> bool:
        """Whether it was called by that one, directly or not."""
        above = self.parent
        while above is not None and above is not other:
            above = above.parent
        return above is not None

    def may_retry(self, error: BaseException) -> bool:
        """Whether `retry_exceptions` and the number of attempts allow another one.

        Not after it took items of a stream that was passed to it: they are gone. The error says so.
        """
        template = self.template
        wanted = template.retry_exceptions
        if isinstance(wanted, bytes):
            import pickle

            wanted = isinstance(error, pickle.loads(wanted))
        if not wanted:
            return False
        if self.consumed:
            error.add_note(
                ", ".join(
                    f"had consumed {count} items of stream {task[12:20].hex()}"
                    for task, count in self.consumed.items()
                )
            )
            return False
        return template.max_retries < 0 or self.attempt < template.max_retries


current: ContextVar[Run | None] = ContextVar("skate_local_run", default=None)
