"""SIGSTOP of a worker or of the zygote delays what needs it, and nothing else."""

import os
import signal
import subprocess
import time

import pytest
from programs import at_rest, readable, stat_fields, wait_for_end, wait_until

STOPPED_S = float(os.environ.get("SKATE_STOPPED_SECONDS", "2"))
"""How long a worker is stopped where that is what is tested."""


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


def cpu_s(pid):
    """Time that a process has computed."""
    return sum(map(int, stat_fields(pid)[11:13])) / os.sysconf("SC_CLK_TCK")


def test_nobody_computes_while_a_worker_is_stopped_and_then_all_is_right(start, record_property):
    program = start(
        """
        skate.init(num_cpus=2)

        @skate.remote
        def numbers(n):
            os.write(2, f"{os.getpid()}\\n".encode())
            for k in range(n):
                yield k

        @skate.remote
        class Sum:
            def __init__(self):
                self.total = 0
            def add(self, k):
                self.total += k
                return self.total

        def sums():
            actor = Sum.remote()
            return skate.get([actor.add.remote(k) for k in range(100)])[-1]

        stream = numbers.options(_generator_backpressure_num_objects=10).remote(1000)
        assert skate.get(next(stream)) == 0
        (row,) = skate.util.state.list_tasks(filters=[("name", "=", "numbers")], detail=True)
        print(row.worker_pid, flush=True)
        sys.stdin.readline()
        assert sums() == 4950  # the others go on
        print("others", flush=True)
        rest = [skate.get(ref) for ref in stream]  # waits for the one that is stopped
        assert rest == list(range(1, 1000)), rest
        print("right")
        """,
        stdin=-1,
    )
    worker = int(program.line())
    stop(worker)
    program.popen.stdin.write(b"\n")
    program.popen.stdin.flush()
    assert program.line() == "others"
    driver = program.pid
    began, before = time.monotonic(), cpu_s(driver)
    # How long it lasts is what is tested.
    assert not readable(program.popen.stdout, began + STOPPED_S)
    took = time.monotonic() - began
    share = (cpu_s(driver) - before) / took
    record_property("cpu_share", share)
    assert share < 0.1
    os.kill(worker, signal.SIGCONT)
    assert program.succeed()[0] == "right\n"


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
    """So are its children: they stayed beyond the session if the zygote never went on."""

    @skate.remote(max_retries=0)
    def wait(gate):
        child = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL)
        gate.write_bytes(f"{os.getpid()} {os.getppid()} {child.pid}".encode())
        signal.pause()

    ref = wait.remote(gate)
    pid, zygote, child = map(int, gate.read_bytes().split())
    stop(zygote)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(skate.exceptions.WorkerCrashedError, match=str(pid)):
        skate.get(ref, timeout=20)
    has_ended = wait_for_end(child)
    if not has_ended:
        os.kill(child, signal.SIGKILL)
    os.kill(zygote, signal.SIGCONT)
    assert has_ended
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


def test_worker_ends_with_its_driver_though_it_has_much_to_tell(start, gates):
    """Its thread that hears of the driver's end waits for room in a ring that nobody reads."""
    begun, drop, dropped = gates("begun"), gates("drop"), gates("dropped")
    program = start(
        f"""
        from pathlib import Path

        skate.init(num_cpus=1)

        @skate.remote(max_retries=0)
        def hold():
            refs = [skate.put(k) for k in range(60_000)]
            Path({str(begun)!r}).write_text(f"{{os.getpid()}} {{os.getppid()}}")
            Path({str(drop)!r}).read_bytes()
            del refs
            time.sleep(0.3)  # the thread looks within 10 ms, and finds the ring full
            Path({str(dropped)!r}).write_bytes(b"")
            time.sleep(1000)

        skate.get(hold.remote())
        """
    )
    worker, zygote = map(int, begun.read_text().split())
    stop(zygote)
    stop(program.pid)
    drop.write_bytes(b"")
    dropped.read_bytes()
    for pid in (zygote, program.pid):
        os.kill(pid, signal.SIGKILL)
    assert wait_for_end(worker)
