"""What does the stable ABI cost? Builds the extension both ways and measures the hot paths.

    python benches/abi3.py           builds (a few minutes), then measures both in turns

`abi3-py311` makes one wheel for every CPython from 3.11 on, but cannot call what is not part of it
(`PyObject_Vectorcall`, the layout of tuples and lists). The rule of the design: the stable ABI,
unless it costs more than 10 % on the hot path.

Measured is CPU time, of the calling thread alone where one thread does the work, of driver and
workers together where they share it: other programs on the machine disturb it less than wall time.
Each round is a fresh process; the table shows medians.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
VARIANTS = {"abi3": [], "version-specific": ["--no-default-features"]}
ROUNDS = 9
COUNT = 20_000


def build(folder, options):
    """Builds a wheel and unpacks it into the folder."""
    wheels = folder / "wheels"
    maturin = [
        sys.executable,
        "-m",
        "maturin",
        "build",
        "--release",
        "--quiet",
        "--interpreter",
        sys.executable,
    ]
    subprocess.run([*maturin, "--out", str(wheels), *options], cwd=ROOT, check=True)
    (wheel,) = wheels.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*pip, str(folder / "lib"), str(wheel)], check=True)
    return folder / "lib"


def cpu_of_workers(ray):
    """CPU seconds of the live workers, to the tick of 10 ms."""
    pids = [row["pid"] for row in ray._session.client.describe_workers() if row["pid"]]
    stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    ticks = sum(int(words[11]) + int(words[12]) for words in stats)
    return ticks / os.sysconf("SC_CLK_TCK")


def in_thread(work):
    """CPU nanoseconds of this thread for each of `COUNT`."""
    start = time.thread_time()
    work()
    return 1e9 * (time.thread_time() - start) / COUNT


def in_all(ray, work, repeats):
    """CPU nanoseconds of driver and workers for each of `repeats` times `COUNT`."""
    work()
    start = time.process_time() + cpu_of_workers(ray)
    for _ in range(repeats):
        work()
    return 1e9 * (time.process_time() + cpu_of_workers(ray) - start) / COUNT / repeats


def measure():
    """One round in this process, as JSON."""
    from workloads.scale import gate

    import skate as ray

    ray.init(num_cpus=2, log_to_driver=False)

    @ray.remote
    def nothing():
        return None

    @ray.remote(num_returns="streaming")
    def numbers(count):
        yield from range(count)

    ray.get([nothing.remote() for _ in range(2_000)])
    refs = []
    result = {"ABI3": ray._native.ABI3}
    with gate(ray):
        result["submit"] = in_thread(lambda: refs.extend(nothing.remote() for _ in range(COUNT)))
    ray.get(refs)
    result["get, ready"] = in_thread(lambda: [ray.get(ref) for ref in refs])
    refs.clear()
    result["put"] = in_thread(lambda: refs.extend(ray.put(number) for number in range(COUNT)))
    refs.clear()
    result["task, both sides"] = in_all(
        ray, lambda: ray.get([nothing.remote() for _ in range(COUNT)]), 5
    )
    result["item of a stream, both sides"] = in_all(
        ray, lambda: [ray.get(ref) for ref in numbers.remote(COUNT)], 5
    )
    ray.shutdown()
    print(json.dumps(result))


def main():
    """Builds, measures in turns, prints the table."""
    samples = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: build(Path(folder, name), VARIANTS[name]) for name in VARIANTS}
        for _ in range(ROUNDS):
            for name, path in paths.items():
                env = os.environ | {"PYTHONPATH": f"{path}:{ROOT / 'benches'}"}
                command = [sys.executable, __file__, "--measure"]
                run = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
                taken = json.loads(run.stdout)
                if taken.pop("ABI3") != (name == "abi3"):
                    sys.exit(f"{path} is not the build that was asked for")
                samples[name].append(taken)
    print(f"{'CPU ns each':32}{'abi3':>10}{'specific':>10}{'ratio':>8}   (min..max of the ratio)")
    for row in samples["abi3"][0]:
        stable, specific = ([taken[row] for taken in samples[name]] for name in VARIANTS)
        ratios = [a / b for a, b in zip(stable, specific, strict=True)]
        print(
            f"{row:32}{statistics.median(stable):10,.0f}{statistics.median(specific):10,.0f}"
            f"{statistics.median(ratios):8.2f}   ({min(ratios):.2f}..{max(ratios):.2f})"
        )


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["--measure"] else main()
