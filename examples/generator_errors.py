"""Where an exception of a generator arrives: at the item it prevented, never before.

Three generators fail after two items. The items stay good in every mode; what comes after them
raises. The last part yields more than was asked for: there is no reference left that could raise,
so the values stay and the error is reported on the driver's standard error.

    python examples/generator_errors.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import skate as ray

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = 2


@ray.remote
def fails_after_two() -> Iterator[int]:
    """Yield 0 and 1, then raise."""
    yield from range(GOOD)
    raise ValueError("no third item today")


@ray.remote
def counts_to(stop: int) -> Iterator[int]:
    """Yield 0 to `stop - 1`."""
    yield from range(stop)


def outcome(ref: ray.ObjectRef) -> str:
    """The value of a reference, or the error it raises, in a word."""
    try:
        return repr(ray.get(ref))
    except ValueError as error:  # what a ref raises is an instance of the class that was raised
        assert isinstance(error, ray.exceptions.RayTaskError)
        assert "no third item today" in str(error)
        return f"raises {type(error).__name__}"


def main() -> None:
    """Show the three modes, then one yield too many."""
    ray.init(num_cpus=2)

    static = [outcome(ref) for ref in fails_after_two.options(num_returns=4).remote()]
    print("static, 4 refs:    ", static)
    assert static == [
        "0",
        "1",
        "raises RayTaskError(ValueError)",
        "raises RayTaskError(ValueError)",
    ]

    blocks = ray.get(fails_after_two.options(num_returns="dynamic").remote())  # itself no error
    dynamic = [outcome(ref) for ref in blocks]
    print("dynamic:           ", dynamic)
    assert dynamic == ["0", "1", "raises RayTaskError(ValueError)"]

    streaming = [outcome(ref) for ref in fails_after_two.remote()]
    print("streaming:         ", streaming)
    assert streaming == dynamic

    print("5 yields for 2 refs; a report follows on standard error:", flush=True)
    kept = ray.get(counts_to.options(num_returns=2).remote(5))
    print("  values kept:     ", kept)
    assert kept == [0, 1]
    ray.shutdown()


if __name__ == "__main__":
    main()
