"""A cancel that comes when a task's code has ended: its worker goes on."""

import contextlib
import io
import os
import sys


def test_cancel_while_output_is_flushed_harms_no_worker(fresh, gates):
    # KeyboardInterrupt was raised there, and ended the process with a traceback.
    fresh.init(num_cpus=1)
    started, go = gates("started"), gates("go")

    @fresh.remote(max_retries=0)
    def task(started, go):
        class Slow(io.StringIO):
            def flush(self):
                sys.stdout = sys.__stdout__
                started.write_bytes(f"{os.getpid()}".encode())
                go.read_bytes()

        print("something to flush", end="")
        sys.stdout = Slow()

    ref = task.remote(started, go)
    pid = int(started.read_bytes())
    fresh.cancel(ref)
    go.write_bytes(b"")
    with contextlib.suppress(fresh.exceptions.TaskCancelledError):
        fresh.get(ref)
    assert fresh.get(fresh.remote(lambda: os.getpid()).remote()) == pid
