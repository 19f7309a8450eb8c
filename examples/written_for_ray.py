"""A program written for Ray, which knows nothing of skate. Run it with `skate run`.

    skate run examples/written_for_ray.py
    skate check examples/written_for_ray.py

Words of a few texts are counted: tasks map, an actor collects, a generator feeds, a pool balances.
"""

import collections
import time

import ray
from ray.exceptions import RayTaskError
from ray.util import ActorPool
from ray.util.queue import Queue

TEXTS = ["a b a", "b c", "a", "", "c c c"]


@ray.remote
def texts():
    for text in TEXTS:
        yield text


@ray.remote
def count(text):
    return collections.Counter(text.split())


@ray.remote
class Total:
    def __init__(self):
        self.counts = collections.Counter()

    def add(self, counts):
        self.counts.update(counts)

    def get(self):
        return dict(self.counts)


@ray.remote(num_cpus=0)
class Measurer:
    def length(self, text):
        return len(text)


@ray.remote
def fail():
    return 1 / 0


def main():
    ray.init(num_cpus=2, include_dashboard=False)
    started = time.monotonic()

    total = Total.remote()
    ray.get([total.add.remote(count.remote(text)) for text in texts.remote()])
    counts = ray.get(total.get.remote())
    assert counts == {"a": 3, "b": 2, "c": 4}, counts

    pool = ActorPool([Measurer.remote() for _ in range(2)])
    lengths = list(pool.map(lambda actor, text: actor.length.remote(text), TEXTS))
    assert lengths == [5, 3, 1, 0, 5]

    queue = Queue()
    queue.put(counts)
    assert queue.get() == counts

    try:
        ray.get(fail.remote())
    except ZeroDivisionError as error:
        assert isinstance(error, RayTaskError)

    print(f"{counts} in {time.monotonic() - started:.2f} s, by {ray.__name__} {ray.__version__}")
    ray.shutdown()


if __name__ == "__main__":
    main()
