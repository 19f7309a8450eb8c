"""A `get` that ends too early, and tasks that were cancelled."""

import os
import tempfile
import threading
import traceback
from pathlib import Path

import skate as ray


@ray.remote
def waits(started):
    with started.open("w"):
        threading.Event().wait(1000)


@ray.remote
def after(value):
    return value


ray.init(num_cpus=1)
started = Path(tempfile.mkdtemp()) / "started"
os.mkfifo(started)
first, second = ray.put(1), waits.remote(started)
dependent = after.remote(second)
with started.open():  # now it runs
    started.unlink()
    started.parent.rmdir()
try:
    ray.get([first, dependent], timeout=0.1)
except ray.exceptions.GetTimeoutError:
    traceback.print_exc()
ray.cancel(second)
for ref in (second, dependent):
    try:
        ray.get(ref)
    except ray.exceptions.TaskCancelledError:
        traceback.print_exc()
