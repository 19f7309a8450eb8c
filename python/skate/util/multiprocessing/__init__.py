"""Ray's `util.multiprocessing`: the standard library's `Pool`, with actors as its processes."""

from multiprocessing import TimeoutError  # noqa: A004 - the name under which `Pool` raises it

from skate.util.multiprocessing.pool import Pool

__all__ = ["Pool", "TimeoutError"]
