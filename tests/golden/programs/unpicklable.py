"""What cannot be pickled: an argument, what a function captures, results."""

import threading
import traceback

import skate as ray

lock = threading.Lock()


class Table:
    def __reduce__(self):
        return self.missing


@ray.remote
def use(config, *more):
    return config, more


@ray.remote
def captures():
    return lock.locked()


@ray.remote
def returns():
    return {"lines": (line for line in [])}


@ray.remote
def yields():
    yield 1
    yield threading.Thread()


ray.init(num_cpus=1)
for attempt in (
    lambda: use.remote({"a": [lock]}),
    lambda: use.remote(1, 2, lock),
    lambda: use.remote(Table()),
    captures.remote,
    lambda: ray.get(returns.remote()),
    lambda: ray.get(list(yields.remote())),
):
    try:
        attempt()
    except Exception:
        traceback.print_exc()
