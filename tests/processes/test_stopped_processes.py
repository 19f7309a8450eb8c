"""SIGSTOP of a worker or of the zygote delays what needs it, and nothing else."""

import os
import signal

import pytest
from programs import at_rest, stat_fields, wait_for_end, wait_until


@pytest.fixture
def skate(fresh):
    fresh.init(num_cpus=2)
    yield fresh
    wait_until(lambda: at_rest(fresh), fresh.statistics)


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: stat_fields(pid)[0] in "TZX")


def test_stopped_worker_goes_on(skate, gate):
    @skate.remote(max_retries=0)
    def wait(gate):
        gate.write_bytes(str(os.getpid()).encode())
        gate.read_bytes()
        return 1

    ref = wait.remote(gate)
    pid = int(gate.read_bytes())
    stop(pid)
    quick = skate.remote(lambda: 2)
    assert skate.get([quick.remote() for _ in range(20)]) == [2] * 20
    os.kill(pid, signal.SIGCONT)
    gate.write_bytes(b"")
    assert skate.get(ref) == 1


def test_stopped_worker_can_be_cancelled_by_force(skate, gate):
    @skate.remote(max_retries=0)
    def wait(gate):
        gate.write_bytes(str(os.getpid()).encode())
        signal.pause()

    ref = wait.remote(gate)
    pid = int(gate.read_bytes())
    stop(pid)
    skate.cancel(ref, force=True)
    with pytest.raises(skate.exceptions.TaskCancelledError):
        skate.get(ref)
    assert wait_for_end(pid)


def test_workers_work_while_the_zygote_is_stopped(skate, gates):
    zygote = skate.get(skate.remote(lambda: os.getppid()).remote())
    stop(zygote)
    quick = skate.remote(lambda: 2)
    assert skate.get([quick.remote() for _ in range(20)]) == [2] * 20
    started = [gates(f"started{k}") for k in range(4)]
    go = [gates(f"go{k}") for k in range(4)]

    @skate.remote(num_cpus=0)
    def hold(started, go):
        started.write_bytes(b"x")
        go.read_bytes()
        return 3

    refs = [hold.remote(started[k], go[k]) for k in range(4)]  # more than there are workers
    wait_until(lambda: skate.statistics().workers == 4)
    os.kill(zygote, signal.SIGCONT)
    for gate in started:
        gate.read_bytes()
    for gate in go:
        gate.write_bytes(b"")
    assert skate.get(refs) == [3] * 4


def test_worker_that_dies_while_the_zygote_is_stopped_is_missed(skate, gate):
    @skate.remote(max_retries=0)
    def wait(gate):
        gate.write_bytes(f"{os.getpid()} {os.getppid()}".encode())
        signal.pause()

    ref = wait.remote(gate)
    pid, zygote = map(int, gate.read_bytes().split())
    stop(zygote)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(skate.exceptions.WorkerCrashedError, match=str(pid)):
        skate.get(ref, timeout=20)
    os.kill(zygote, signal.SIGCONT)
    assert skate.get(skate.remote(lambda: 2).remote()) == 2


@pytest.mark.parametrize("end", ["skate.shutdown()", "os.kill(os.getpid(), signal.SIGKILL)"])
@pytest.mark.parametrize("stopped", ["zygote", "worker", "both"])
def test_the_session_ends_although_one_is_stopped(start, stopped, end):
    program = start(
        f"""
        import subprocess
        skate.init(num_cpus=2)

        @skate.remote
        def start_child():
            subprocess.Popen(["tail", "-f", "/dev/null"])
            return os.getpid(), os.getppid()

        worker, zygote = skate.get(start_child.remote())
        pids = dict(worker=[worker], zygote=[zygote], both=[worker, zygote])["{stopped}"]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        {end}
        """
    )
    program.finish()
    program.check_nothing_is_left()
