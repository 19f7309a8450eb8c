"""Processes die under a task: by themselves, and from outside."""

import os
import signal
import traceback

import skate as ray


@ray.remote(max_retries=0)
def leaves():
    os._exit(3)


@ray.remote(max_retries=0)
def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


@ray.remote
class Account:
    def close(self):
        os._exit(1)


ray.init(num_cpus=1, log_to_driver=False)
for make in (leaves.remote, is_killed.remote, Account.remote().close.remote):
    try:
        ray.get(make())
    except ray.exceptions.RayError:
        traceback.print_exc()
