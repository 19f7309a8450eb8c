"""`progress(refs)`: refs as they get ready, beside a bar.

    refs, or a stream ─ ready ─▶ yielded to the caller, and one step of the bar

The bar is tqdm's where that is installed (a widget in notebooks), else rich's, else a line of
stderr now and then. Invariant: the bar is closed however the loop is left.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager

import skate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeVar

    T = TypeVar("T")

_PERIOD_S = 1.0  # between two lines of a plain bar


def progress(
    waitables: Iterable[skate.ObjectRef[T]],
    desc: str = "",
    *,
    total: int | None = None,
    unit: str = "it",
) -> Iterator[skate.ObjectRef[T]]:
    """Gives refs as they get ready, and shows how far it is.

        for ref in skate.util.progress(refs, "squares"):
            use(skate.get(ref))

    Args:
        waitables: Refs, which are given in the order in which they get ready; or a stream, whose
            items come in its own order.
        desc: Stands before the bar.
        total: How many there will be; by default the number of refs, of a stream unknown.
        unit: Of what is counted.

    Raises:
        TypeError: it is neither refs nor a stream.
    """
    refs: Any = waitables
    if isinstance(refs, skate.ObjectRef):
        msg = "progress: give a list of refs or a stream; a single ref has no progress"
        raise TypeError(msg)
    if not isinstance(refs, skate.ObjectRefGenerator):
        known: list[Any] = list(refs)
        for each in known:
            if not isinstance(each, skate.ObjectRef):
                msg = f"progress: every item must be a ref, but one is of {type(each).__name__}"
                raise TypeError(msg)
        total = len(known) if total is None else total
        refs = skate.util.as_completed(known, chunk_size=max(len(known), 1), yield_obj_refs=True)
    return _shown(refs, desc, total, unit)


def _shown(
    refs: Iterable[skate.ObjectRef[T]], desc: str, total: int | None, unit: str
) -> Iterator[skate.ObjectRef[T]]:
    with _bar(desc, total, unit) as step:
        for ref in refs:
            yield ref
            step()


@contextmanager
def _bar(desc: str, total: int | None, unit: str) -> Iterator[Callable[[], Any]]:
    """A bar of the best kind that is installed; calling it is one step."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        pass
    else:
        with tqdm(desc=desc or None, total=total, unit=unit) as bar:
            yield bar.update
        return
    try:
        from rich.progress import Progress
    except ImportError:
        from skate.experimental.tqdm_ray import tqdm as plain

        period_s = 0.1 if sys.stderr is not None and sys.stderr.isatty() else _PERIOD_S
        with plain(desc=desc, total=total, unit=unit, flush_interval_s=period_s) as line:
            yield line.update
        return
    with Progress(transient=False) as shown:
        task = shown.add_task(desc, total=total)
        yield lambda: shown.advance(task)
