"""To which cell of a notebook the output of a task belongs: to the one that submitted it.

    a cell begins ─▶ an id is taken: what it submits will have greater ones
    a line of a task ─ the driver's ─▶ the last cell that began before the task's id
                     └ a worker's ─▶ that of the task that submitted it, which the node knows

Invariant: ids that one process makes count up (rust/core's id.rs), so a cell is known by an id and
costs nothing when a task is submitted. Whatever is not known goes to the cell that began last. A
cell is added in one step, as the helper's thread looks for cells whenever a line comes.
"""

from __future__ import annotations

from bisect import bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from skate._native import Client

MARK = "\x1c"
"""Between the label of a line and the id of its task, where workers are told to send it."""
LAST = -1
"""The cell that began last."""

_COUNTER = slice(24, 40)  # of an id in hex: process and counter
_COUNTER_BITS, _CALL = 40, 1 << 39
_MOST = 10_000


class Cells:
    """The cells of one session."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._begun: list[tuple[int, Any]] = []  # counter of the id that was taken, header
        self._known: dict[str, int] = {}

    def begin(self, header: Any) -> None:
        """A cell begins, or the session begins in it."""
        _, count = _parts(self.client.put(None).hex())
        self._begun.append((count, header))

    def cell_of(self, task_id: str) -> int:
        """The number of a task's cell, or `LAST`. Asks the node for tasks of tasks, once each."""
        path = []
        while task_id and task_id not in self._known:
            path.append(task_id)
            process, count = _parts(task_id)
            if process == 0:
                self._known[task_id] = self._begun_before(count)
                break
            task_id = self._parent(task_id)
        cell = self._known.get(task_id, LAST)
        if len(self._known) > _MOST:
            self._known.clear()
        self._known |= dict.fromkeys(path, cell)
        return cell

    def header(self, cell: int) -> Any:
        """What marks the output of a cell, as ipykernel has it."""
        return self._begun[cell][1]

    def _begun_before(self, count: int) -> int:
        return bisect_right(self._begun, count, key=lambda begun: begun[0]) - 1

    def _parent(self, task_id: str) -> str:
        import json

        question = {
            "table": "tasks", "columns": ["parent_task_id"], "filters": [["task_id", "=", task_id]],
        }  # fmt: skip
        rows = json.loads(self.client.inspect(json.dumps(question)))["rows"]
        parent: str = (rows[0][0] or "") if rows else ""
        return parent


def _parts(hex_id: str) -> tuple[int, int]:
    """The process that made an id, and its counter."""
    number = int(hex_id[_COUNTER], 16)
    return number >> _COUNTER_BITS, number & (_CALL - 1)
