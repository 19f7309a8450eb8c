"""The standard descriptors: input, output, errors.

Invariant: what skate opens or is sent never gets the number 0, 1 or 2. Whatever any library prints
would go into it, and a worker puts its own streams there.
"""

from __future__ import annotations

import os


def reserve() -> None:
    """Opens those that are closed, on nothing: the program was started so, or a module did it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003
