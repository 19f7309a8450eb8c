"""Draws `memory.svg`: what a list and a generator of the same items take, measured in a real run.

    python docs/figures/memory.py

Each task makes ITEMS arrays of ITEM_BYTES; the program uses each for a moment. A thread samples the
bytes of the store and the private memory of the workers. The figure is plain SVG, written by hand.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import skate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ITEMS = 100
ITEM_BYTES = 4_000_000
WINDOW_BYTES = 12_000_000
SAMPLE_S = 0.002
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 300, 60, 40, 30

Curve = list[tuple[float, float]]


@skate.remote
def as_list() -> list[np.ndarray]:
    """All at once."""
    return [np.full(ITEM_BYTES, k, np.uint8) for k in range(ITEMS)]


@skate.remote(generator_backpressure_num_bytes=WINDOW_BYTES)
def as_generator() -> Iterator[np.ndarray]:
    """One after the other."""
    for k in range(ITEMS):
        yield np.full(ITEM_BYTES, k, np.uint8)


def use(value: np.ndarray) -> None:
    """What the program does with one item."""
    assert value[0] == value[-1]
    time.sleep(0.003)


def run_list() -> None:
    """The values arrive together, when the last one is made."""
    for value in skate.get(as_list.remote()):
        use(value)


def run_generator() -> None:
    """Each value arrives when it is made, and goes when it has been used."""
    for ref in as_generator.remote():
        use(skate.get(ref))
        del ref


def memory_bytes(client: skate._native.Client) -> int:
    """Bytes of the store, and private memory of the workers above that of an idle one."""
    private = 0
    for row in client.describe_workers():
        try:
            status = Path(f"/proc/{row['pid']}/status").read_text()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in status.splitlines())
        private += int(fields.get("RssAnon", "0 kB").split()[0]) * 1024
    return skate.statistics().used_bytes + private


def measure(run: Callable[[], None]) -> Curve:
    """Runs it in a fresh session: seconds and bytes."""
    with skate.init(num_cpus=1, log_to_driver=False):
        from skate import _session

        client = _session.connect()
        skate.get(skate.remote(lambda: np.zeros(1).sum()).remote())  # the worker is there
        idle, began, curve, done = memory_bytes(client), time.perf_counter(), [], threading.Event()

        def sample() -> None:
            while not done.wait(SAMPLE_S):
                curve.append((time.perf_counter() - began, memory_bytes(client) - idle))

        sampler = threading.Thread(target=sample)
        sampler.start()
        run()
        done.set()
        sampler.join()
    return curve


def draw(curves: dict[str, tuple[str, Curve]]) -> str:
    """Both curves over one axis of time, in MB."""
    last_s = max(curve[-1][0] for _, curve in curves.values())
    most = max(size for _, curve in curves.values() for _, size in curve)
    plot_width, plot_height = WIDTH - LEFT - 20, HEIGHT - BOTTOM - TOP

    def at(second: float, size: float) -> str:
        x = LEFT + plot_width * second / last_s
        return f"{x:.1f},{TOP + plot_height * (1 - max(size, 0) / most):.1f}"

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        (
            f'<text x="{LEFT}" y="18">Memory of store and worker, {ITEMS} items of '
            f"{ITEM_BYTES / 1e6:.0f} MB (MB over seconds)</text>"
        ),
        f'<path d="M{LEFT},{TOP} V{TOP + plot_height} H{WIDTH - 20}" fill="none" stroke="black"/>',
    ]
    for share in (0, 0.5, 1):
        y = TOP + plot_height * (1 - share)
        label = f"{share * most / 1e6:.0f}"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        x = LEFT + plot_width * share
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 18}" text-anchor="middle">{share * last_s:.1f}</text>'
        )
    for row, (name, (colour, curve)) in enumerate(curves.items()):
        points = " ".join(at(*point) for point in curve)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        peak = max(size for _, size in curve) / 1e6
        parts.append(
            f'<text x="{WIDTH - 30}" y="{TOP + 14 + 16 * row}" text-anchor="end" fill="{colour}">'
            f"{name}: at most {peak:.0f} MB</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Measures both and writes the figure."""
    curves = {
        "list": ("#c0392b", measure(run_list)),
        "generator": ("#2471a3", measure(run_generator)),
    }
    for name, (_, curve) in curves.items():
        print(
            f"{name}: {max(size for _, size in curve) / 1e6:.0f} MB at most, {curve[-1][0]:.2f} s"
        )
    Path(__file__).with_suffix(".svg").write_text(draw(curves))


if __name__ == "__main__":
    main()
