"""How a table is asked for: what the caller said is checked, then the node answers.

    list_tasks(filters, limit) ─▶ checked against the fields of the row ─▶ Source.ask ─▶ rows
                                                                            ├─ this session
                                                                            └─ a driver elsewhere

Invariant: a wrong argument is a ValueError that names the function, what came and what would do.
"""

from __future__ import annotations

import json
import types
from dataclasses import fields
from typing import Any, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from skate import _ids, _session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skate.util.state.common import Row

R = TypeVar("R", bound="Row")

MOST = 2**32 - 1
"""The largest limit."""

_PARTS = 3


class Source(Protocol):
    """Whoever has the tables."""

    session: str

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to a question, as rust/native/src/inspect.rs says."""


class Here:
    """The session of this process."""

    def __init__(self) -> None:
        self._client = _session.connect()
        self.session = self._client.session

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._client.inspect(json.dumps(question)))
        return answer


class Rows(list[R]):
    """The rows asked for, and in `total` how many there are without the limit."""

    total: int = 0


def constants(source: Source) -> dict[str, str]:
    """Columns that are the same in every row."""
    return {"job_id": _ids.JOB_ID, "node_id": source.session.ljust(56, "0")}


def listed(  # noqa: PLR0917 - what a table can be asked for
    function: str,
    table: str,
    kind: type[R],
    source: Source | None,
    filters: Any,
    limit: int,
    detail: bool,
) -> Rows[R]:
    """The rows of a table."""
    check_limit(function, limit)
    conditions = checked(function, kind, filters)
    source = source or Here()
    rows: Rows[R] = Rows()
    given = constants(source)
    asked = []
    for key, operator, value in conditions:
        if key not in given:
            asked.append((key, operator, value))
        elif (given[key] == value) != (operator == "="):
            return rows
    columns = [
        each.name
        for each in fields(kind)
        if each.name not in kind.CONSTANTS and (detail or each.name not in kind.DETAILS)
    ]
    question = {"table": table, "columns": columns, "filters": asked, "limit": limit}
    answer = source.ask(question)
    names = kind.keys()
    fixed = {name: value for name, value in given.items() if name in names}
    rows.extend(kind(**dict(zip(columns, row, strict=True)), **fixed) for row in answer["rows"])
    rows.total = answer["total"]
    return rows


def counted(source: Source | None, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
    """How many rows there are of each combination of these columns: the number comes last."""
    source = source or Here()
    answer = source.ask({"table": table, "columns": columns, "is_counted": True})
    return sorted((tuple(row) for row in answer["rows"]), key=lambda row: (-row[-1], str(row)))


def check_limit(function: str, limit: Any) -> None:
    """A limit is a whole number from 1 on."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST:
        msg = f"{function}: limit is {limit!r}, but must be a whole number from 1 to {MOST}"
        raise ValueError(msg)


def checked(function: str, kind: type[Row], filters: Any) -> list[tuple[str, str, Any]]:
    """The filters with values of their columns' types."""
    if filters is None:
        return []
    shape = 'a list of (key, "=" or "!=", value)'
    if not isinstance(filters, list | tuple):
        msg = f"{function}: filters is {filters!r}, but must be {shape}"
        raise ValueError(msg)  # noqa: TRY004 - like every wrong argument here
    checked_filters = []
    for each in filters:
        if not isinstance(each, list | tuple) or len(each) != _PARTS:
            msg = f"{function}: a filter is {each!r}, but filters must be {shape}"
            raise ValueError(msg)
        key, operator, value = each
        names = kind.keys()
        if key not in names:
            raise ValueError(f"{function}: {_unknown(kind, key)}")
        if operator not in {"=", "!="}:
            wrong = f"the operator of the filter on {key!r} is {operator!r}"
            msg = f'{function}: {wrong}, but must be "=" or "!="'
            raise ValueError(msg)
        value = _value(function, kind, key, _ids.text(value))
        checked_filters.append((key, operator, value))
    return checked_filters


def _unknown(kind: type[Row], key: Any) -> str:
    from difflib import get_close_matches

    near = get_close_matches(str(key), kind.keys(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no column {key!r} to filter by; {hint}There are {', '.join(kind.keys())}"


def _value(function: str, kind: type[Row], key: str, value: Any) -> Any:
    """A value as the column has it: programs pass numbers, command lines text."""
    hint = get_type_hints(kind)[key]
    allowed = set(get_args(hint)) if get_origin(hint) in {Union, types.UnionType} else {hint}
    if value is None and type(None) in allowed:
        return None
    if any(get_origin(each) is not None or each is float for each in allowed):
        msg = f"{function}: rows cannot be chosen by {key!r}; choose from what is returned"
        raise ValueError(msg)
    if bool in allowed:
        if isinstance(value, bool):
            return value
        if str(value).lower() in {"true", "false"}:
            return str(value).lower() == "true"
    elif int in allowed and not isinstance(value, bool):
        try:
            return int(value)
        except (TypeError, ValueError):
            if str in allowed and isinstance(value, str):
                return value
    elif str in allowed and isinstance(value, str):
        return value.upper() if key in {"state", "type", "worker_type", "place"} else value
    names = " or ".join(sorted("None" if each is type(None) else each.__name__ for each in allowed))
    msg = f"{function}: the filter on {key!r} compares with {value!r}, but must with {names}"
    raise ValueError(msg)
