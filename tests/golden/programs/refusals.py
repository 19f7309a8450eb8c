"""Calls that are wrong: one line says what, and what would be right."""

import traceback

import skate as ray


@ray.remote
def area(width, height):
    return width * height


@ray.remote
class Counter:
    def add(self, n):
        return n


ray.init(num_cpus=1)
counter = Counter.remote()
for attempt in (
    lambda: area(1, 2),
    lambda: area.remote(1),
    lambda: area.remote(1, hight=2),
    lambda: area.options(num_cpu=1),
    lambda: area.options(num_returns="stream"),
    lambda: ray.remote(num_gpus="1"),
    lambda: Counter(),
    lambda: counter.add(1),
    lambda: counter.ad.remote(1),
    lambda: counter.add.remote(),
    lambda: ray.get(1),
    lambda: ray.get([1]),
    lambda: ray.get(ray.put(1), timeout=-1),
    lambda: ray.wait(ray.put(1)),
    lambda: ray.put(ray.put(1)),
    lambda: ray.cancel(1),
    lambda: ray.kill(1),
    lambda: ray.get_actor("counter"),
    lambda: ray.init(),
    lambda: ray.init(num_cpu=1),
):
    try:
        attempt()
    except Exception:
        traceback.print_exc()
