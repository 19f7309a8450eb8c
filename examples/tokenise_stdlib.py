"""Count every name in the Python installation's own source tree, in parallel, in bounded memory.

    walk (one streaming task) ──batch──▶ count_names (as many as CPUs) ──Tally──▶ this process

The walk yields batches of files and pauses while `UNREAD` of them wait to be taken; this process
takes a batch as soon as there is one and passes its reference to a task, but never has more than
`IN_FLIGHT` such tasks under way. So at most UNREAD + IN_FLIGHT batches of `BATCH_BYTES` exist at a
time, however large the tree is. Then the same functions do the same job in one process.

    python examples/tokenise_stdlib.py [--megabytes 30]
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import sysconfig
import time
import tokenize
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import skate

if TYPE_CHECKING:
    from collections.abc import Iterator

CPUS = min(8, len(os.sched_getaffinity(0)))
BATCH_BYTES = 256 * 1024
UNREAD = 8
IN_FLIGHT = 2 * CPUS
TOP = 12

Batch = list[tuple[str, bytes]]


@dataclass
class Tally:
    """What is known about a number of files."""

    names: Counter[str] = field(default_factory=Counter)
    size_bytes: int = 0
    files: int = 0
    skipped: int = 0

    def add(self, other: Tally) -> None:
        """Take in another part of the tree."""
        self.names.update(other.names)
        self.size_bytes += other.size_bytes
        self.files += other.files
        self.skipped += other.skipped


def walk(root: str, limit_bytes: int) -> Iterator[Batch]:
    """Yield the tree's Python files in batches, in a fixed order, up to `limit_bytes` in all."""
    batch: Batch = []
    batch_bytes = total_bytes = 0
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - {"site-packages", "dist-packages", "__pycache__"})
        for name in sorted(names):
            if not name.endswith(".py"):
                continue
            source = Path(folder, name).read_bytes()
            batch.append((name, source))
            batch_bytes += len(source)
            total_bytes += len(source)
            if batch_bytes >= BATCH_BYTES or total_bytes >= limit_bytes:
                yield batch
                batch, batch_bytes = [], 0
            if total_bytes >= limit_bytes:
                return
    if batch:
        yield batch


def count_names(batch: Batch) -> Tally:
    """Tokenise the files of one batch; those that are no valid Python (test data) are skipped."""
    tally = Tally()
    for _, source in batch:
        tally.files += 1
        tally.size_bytes += len(source)
        try:
            tokens = tokenize.tokenize(io.BytesIO(source).readline)
            tally.names.update([token.string for token in tokens if token.type == tokenize.NAME])
        except (SyntaxError, tokenize.TokenError, UnicodeDecodeError):
            tally.skipped += 1
    return tally


class Bar:
    """Progress in plain text: one line that is redrawn on a terminal, a few lines elsewhere."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.quarter = label, total, 0
        self.redraw = sys.stderr.isatty()

    def show(self, done: int) -> None:
        """Draw the state, if that says anything new."""
        share = min(1.0, done / self.total)
        if not self.redraw and int(share * 4) == self.quarter:
            return
        self.quarter = int(share * 4)
        bar = "#" * int(share * 30)
        line = f"{self.label:<12}[{bar:<30}] {share:4.0%}  {done / 1e6:5.1f} MB"
        print(f"\r{line}" if self.redraw else line, end="", file=sys.stderr, flush=True)
        if not self.redraw or share == 1.0:
            print(file=sys.stderr, flush=True)


def in_parallel(root: str, limit_bytes: int) -> Tally:
    """Walk in one task, count in many, keep little in memory."""
    # The walk mostly waits, so it takes no CPU from the tasks that count.
    remote_walk = skate.remote(num_cpus=0, generator_backpressure_num_objects=UNREAD)(walk)
    remote_count = skate.remote(count_names)
    total, bar = Tally(), Bar(f"{CPUS} CPUs", limit_bytes)

    def collect(ready: list[skate.ObjectRef]) -> None:
        for tally in skate.get(ready):
            total.add(tally)
            bar.show(total.size_bytes)

    pending: list[skate.ObjectRef] = []
    for batch in remote_walk.remote(root, limit_bytes):
        pending.append(remote_count.remote(batch))
        if len(pending) == IN_FLIGHT:
            ready, pending = skate.wait(pending, num_returns=1)
            collect(ready)
    collect(pending)
    return total


def in_one_process(root: str, limit_bytes: int) -> Tally:
    """The same, without skate."""
    total, bar = Tally(), Bar("one process", limit_bytes)
    for batch in walk(root, limit_bytes):
        total.add(count_names(batch))
        bar.show(total.size_bytes)
    return total


def main() -> None:
    """Do the job both ways, compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=30.0, help="how much source to read")
    limit_bytes = int(parser.parse_args().megabytes * 1e6)
    root = sysconfig.get_paths()["stdlib"]

    start = time.perf_counter()
    with skate.init(num_cpus=CPUS):  # its start counts as part of the job
        total = in_parallel(root, limit_bytes)
        parallel_s = time.perf_counter() - start
    start = time.perf_counter()
    alone = in_one_process(root, limit_bytes)
    alone_s = time.perf_counter() - start
    assert total == alone, "both ways must count the same"

    print(f"\nPython source of {root}")
    print(f"  {total.files} files ({total.skipped} skipped), {total.size_bytes:,} bytes,", end=" ")
    print(f"{total.names.total():,} names, {len(total.names):,} different")
    print(f"\n  {'most used':<14}{'times':>9}")
    for name, times in total.names.most_common(TOP):
        print(f"  {name:<14}{times:>9,}")
    print(f"\n  {'':<14}{'seconds':>9}{'files/s':>9}{'MB/s':>7}")
    for label, seconds in ((f"{CPUS} CPUs", parallel_s), ("one process", alone_s)):
        files, size = total.files / seconds, total.size_bytes / 1e6 / seconds
        print(f"  {label:<14}{seconds:>9.2f}{files:>9.0f}{size:>7.2f}")
    print(f"\n  {alone_s / parallel_s:.2f} times as fast as one process,", end=" ")
    print(f"with at most {(UNREAD + IN_FLIGHT) * BATCH_BYTES / 1e6:.1f} MB of source on the way")
    if CPUS > 1 and parallel_s >= alone_s:
        print("  (no faster: something else keeps the other CPUs busy)")


if __name__ == "__main__":
    main()
