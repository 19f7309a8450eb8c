"""What skate can do and a Ray cluster cannot: refused, or said once, by name.

Invariant: an option that changes what a program means is refused; one that only bounds memory or
ends something earlier is left out, and said once in each process.
"""

from __future__ import annotations

import sys

_said: set[str] = set()


def without(what: str, instead: str) -> None:
    """Says once that something has no effect."""
    if what not in _said:
        _said.add(what)
        print(  # noqa: T201 - it is for people
            f"skate: {what} has no effect on a Ray cluster: {instead}", file=sys.stderr
        )


def refused(what: str, instead: str) -> Exception:
    """The error of what cannot be done."""
    from skate.exceptions import RaySystemError

    return RaySystemError(f"{what}: a Ray cluster cannot do that; {instead}")
