"""SIGKILL of a worker, whatever it is doing: its tasks are retried or fail, the session goes on."""

import contextlib
import os
import signal

import numpy as np
import pytest
from programs import at_rest, wait_for_end, wait_until


@pytest.fixture
def skate(fresh):
    fresh.init(num_cpus=2)
    yield fresh
    wait_until(lambda: at_rest(fresh), fresh.statistics)
    assert fresh.get(fresh.remote(lambda: "goes on").remote(), timeout=30) == "goes on"


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def test_idle(skate):
    @skate.remote
    def own_pid():
        return os.getpid()

    for _ in range(5):
        pid = skate.get(own_pid.remote())
        kill(pid)
        assert wait_for_end(pid)
        assert skate.get(own_pid.remote()) != pid


def test_running_without_a_retry(skate, gate):
    @skate.remote(max_retries=0)
    def wait(gate):
        gate.write_bytes(str(os.getpid()).encode())
        signal.pause()

    ref = wait.remote(gate)
    pid = int(gate.read_bytes())
    kill(pid)
    with pytest.raises(skate.exceptions.WorkerCrashedError, match="SIGKILL") as caught:
        skate.get(ref)
    assert str(pid) in str(caught.value)
    assert "wait" in str(caught.value)


def test_running_with_a_retry(skate, gate, attempts):
    @skate.remote(max_retries=1)
    def work(gate, attempts):
        with attempts.open("ab") as log:
            log.write(b"x")
        if attempts.stat().st_size == 1:
            gate.write_bytes(str(os.getpid()).encode())
            signal.pause()
        return os.getpid()

    ref = work.remote(gate, attempts)
    pid = int(gate.read_bytes())
    kill(pid)
    assert skate.get(ref) != pid
    assert attempts.stat().st_size == 2


def test_tasks_queued_behind_it_use_no_retry(skate, gates, attempts):
    # Only what had started is a crash of the task's; what was queued goes elsewhere for free.
    @skate.remote(max_retries=0)
    def hold(gate):
        gate.write_bytes(str(os.getpid()).encode())
        signal.pause()

    @skate.remote(max_retries=0)
    def quick(attempts):
        with attempts.open("ab") as log:
            log.write(b"x")
        return os.getpid()

    skate.get([quick.remote(attempts) for _ in range(4)])
    ready = [gates("first"), gates("second")]
    held = [hold.remote(gate) for gate in ready]
    pids = {int(gate.read_bytes()) for gate in ready}
    assert len(pids) == 2
    refs = [quick.remote(attempts) for _ in range(20)]
    for pid in pids:
        kill(pid)
    assert not pids & set(skate.get(refs))
    assert attempts.stat().st_size == 24
    for ref in held:
        with pytest.raises(skate.exceptions.WorkerCrashedError):
            skate.get(ref)


def test_blocked_in_get(skate, gates):
    ready, held = gates("ready"), gates("held")

    @skate.remote
    def inner(held):
        held.read_bytes()
        return 1

    @skate.remote(max_retries=0)
    def outer(ready, refs):
        ready.write_bytes(str(os.getpid()).encode())
        return skate.get(refs[0])

    inside = inner.remote(held)
    ref = outer.remote(ready, [inside])
    pid = int(ready.read_bytes())
    wait_until(lambda: skate.statistics().workers_blocked == 1)
    kill(pid)
    with pytest.raises(skate.exceptions.WorkerCrashedError):
        skate.get(ref)
    held.write_bytes(b"")
    assert skate.get(inside) == 1


def test_paused_at_a_yield(skate):
    @skate.remote(max_retries=0, _generator_backpressure_num_objects=2)
    def items():
        while True:
            yield os.getpid()

    stream = items.remote()
    first = next(stream)
    pid = skate.get(first)
    wait_until(lambda: skate.statistics().workers_blocked == 1)
    kill(pid)
    refs = list(stream)
    for ref in refs[:-1]:
        assert skate.get(ref) == pid
    with pytest.raises(skate.exceptions.WorkerCrashedError, match=str(pid)):
        skate.get(refs[-1])


def test_paused_at_a_yield_with_a_retry(skate, attempts):
    @skate.remote(max_retries=1, _generator_backpressure_num_objects=2)
    def items(attempts):
        with attempts.open("ab") as log:
            log.write(b"x")
        for index in range(10):
            yield index, os.getpid()

    stream = items.remote(attempts)
    first = next(stream)
    _, pid = skate.get(first)
    wait_until(lambda: skate.statistics().workers_blocked == 1)
    kill(pid)
    rest = [skate.get(ref) for ref in stream]
    assert [index for index, _ in rest] == list(range(1, 10))
    assert attempts.stat().st_size == 2
    assert rest[-1][1] != pid


@pytest.mark.parametrize("read", [0, 1, 3, 10])
def test_yielding_large_items(skate, read):
    @skate.remote(max_retries=0)
    def items():
        pid = np.full(1 << 17, os.getpid())
        while True:
            yield pid

    stream = items.remote()
    for _ in range(read):
        skate.get(next(stream))
    pid = int(skate.get(next(stream))[0])
    kill(pid)
    refs = list(stream)
    for ref in refs[:-1]:
        assert skate.get(ref)[-1] == pid  # whole, to its last element
    with pytest.raises(skate.exceptions.WorkerCrashedError):
        skate.get(refs[-1])


def test_holding_refs_views_and_puts(skate, gate):
    @skate.remote(max_retries=0)
    def hold(gate, refs):
        mine = [skate.put(np.ones(1 << 18)), skate.put(1)]
        view = skate.get(refs[0])
        children = [skate.remote(lambda: np.ones(1 << 16)).remote() for _ in range(3)]
        skate.wait(children, num_returns=3)
        gate.write_bytes(str(os.getpid()).encode())
        signal.pause()
        return mine, view

    ref = hold.remote(gate, [skate.put(np.ones(1 << 18))])
    pid = int(gate.read_bytes())
    assert skate.statistics().worker_handles > 0
    kill(pid)
    with pytest.raises(skate.exceptions.WorkerCrashedError):
        skate.get(ref)


def test_again_and_again_at_any_moment(skate, gate):
    # Kills land wherever the workers happen to be; every task is retried until it has an answer.
    @skate.remote(max_retries=-1)
    def work(value):
        return os.getpid(), value, np.ones(1 << 14)

    done = 0
    pids = set()
    while done < 160:
        refs = [work.remote(done + k) for k in range(40)]
        for place, ref in enumerate(refs):
            pid, value, array = skate.get(ref)
            assert value == done + place
            assert array.sum() == 1 << 14
            pids.add(pid)
            del array
            if place % 16 == 0:
                with contextlib.suppress(ProcessLookupError):  # killed and reaped before
                    kill(pid)
        done += len(refs)
    assert len(pids) > 4


def test_its_children_go_with_it(skate, gate):
    import subprocess

    @skate.remote(max_retries=0)
    def start_child(gate):
        child = subprocess.Popen(["tail", "-f", "/dev/null"])
        gate.write_bytes(f"{os.getpid()} {child.pid}".encode())
        signal.pause()

    ref = start_child.remote(gate)
    pid, child = map(int, gate.read_bytes().split())
    kill(pid)
    with pytest.raises(skate.exceptions.WorkerCrashedError):
        skate.get(ref)
    assert wait_for_end(child)
