"""A `get` that ends too early, and tasks that were cancelled."""

import threading
import traceback

import skate as ray


@ray.remote
def waits(seconds):
    threading.Event().wait(seconds)


@ray.remote
def after(value):
    return value


ray.init(num_cpus=1)
first, second = ray.put(1), waits.remote(1000)
dependent = after.remote(second)
try:
    ray.get([first, second, dependent], timeout=0.1)
except ray.exceptions.GetTimeoutError:
    traceback.print_exc()
ray.cancel(second)
for ref in (second, dependent):
    try:
        ray.get(ref)
    except ray.exceptions.TaskCancelledError:
        traceback.print_exc()
