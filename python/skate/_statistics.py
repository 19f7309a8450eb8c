"""`statistics()`: what the node counts, as a frozen record.

Invariant: taken at one moment of the node, so the numbers fit together. Tests read them instead of
private fields.
"""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Statistics(Mapping[str, int]):
    """Counters by name, also as attributes; they do not change after they were taken."""

    __slots__ = ("_counters",)

    _counters: dict[str, int]

    def __init__(self, counters: Mapping[str, int]) -> None:
        object.__setattr__(self, "_counters", dict(counters))

    def __getattr__(self, name: str) -> int:
        try:
            return self._counters[name]
        except KeyError:
            msg = f"there is no counter {name!r}; there are {', '.join(self._counters)}"
            raise AttributeError(msg) from None

    def __setattr__(self, name: str, _value: object) -> None:
        msg = f"statistics are a record of one moment: {name!r} cannot be set"
        raise AttributeError(msg)

    # Without it, who restores one asks it for `_counters` before it has them, and sets them.
    def __reduce__(self) -> tuple[type[Statistics], tuple[dict[str, int]]]:
        return Statistics, (self._counters,)

    def __getitem__(self, name: str) -> int:
        return self._counters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counters)

    def __len__(self) -> int:
        return len(self._counters)

    def __repr__(self) -> str:
        return f"Statistics({', '.join(f'{name}={count}' for name, count in self.items())})"
