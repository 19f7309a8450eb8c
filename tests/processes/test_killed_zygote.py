"""SIGKILL of the zygote: workers go on, and the next one comes from a new zygote."""

import os
import signal
from pathlib import Path

import pytest
from programs import PATIENCE_S, at_rest, parent_of, wait_for_end, wait_until


@pytest.fixture
def skate(fresh):
    fresh.init(num_cpus=2)
    yield fresh
    wait_until(lambda: at_rest(fresh), fresh.statistics)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    assert wait_for_end(pid)


def test_workers_go_on(skate, gate):
    @skate.remote(max_retries=0)
    def wait(gate):
        gate.write_bytes(f"{os.getpid()} {os.getppid()}".encode())
        gate.read_bytes()
        return os.getpid()

    ref = wait.remote(gate)
    pid, zygote = map(int, gate.read_bytes().split())
    kill(zygote)
    gate.write_bytes(b"")
    assert skate.get(ref) == pid
    assert skate.get(skate.remote(lambda: 2).remote()) == 2


def test_next_worker_comes_from_a_new_zygote(skate, gates):
    @skate.remote(max_retries=0)
    def who():
        return os.getpid(), os.getppid()

    _, zygote = skate.get(who.remote())
    kill(zygote)
    started = [gates(f"started{k}") for k in range(4)]
    go = [gates(f"go{k}") for k in range(4)]

    @skate.remote(max_retries=0, num_cpus=0)
    def hold(started, go):
        started.write_bytes(b"x")
        go.read_bytes()
        return os.getpid(), os.getppid()

    # More at once than there are workers.
    refs = [hold.remote(started[k], go[k]) for k in range(4)]
    for gate in started:
        gate.read_bytes()
    for gate in go:
        gate.write_bytes(b"")
    rows = skate.get(refs)
    assert len({pid for pid, _ in rows}) == 4
    parents = {parent for _, parent in rows} - {zygote}
    fresh = {parent for parent in parents if parent_of(parent) == os.getpid()}
    assert len(fresh) == 1


def test_worker_of_a_new_zygote_blocks_no_signal(skate, gates):
    # The thread that starts it does, and a cancel by SIGINT came to nothing.
    @skate.remote
    def zygote():
        return os.getppid()

    first = skate.get(zygote.remote())
    kill(first)
    started = [gates(f"started{k}") for k in range(4)]

    @skate.remote(num_cpus=0)
    def hold(started):
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        started.write_bytes(f"{os.getppid()} {len(blocked)}".encode())
        signal.pause()

    refs = [hold.remote(gate) for gate in started]
    rows = [list(map(int, gate.read_bytes().split())) for gate in started]
    assert any(parent != first for parent, _ in rows)
    assert [blocked for _, blocked in rows] == [0] * 4
    for ref in refs:
        skate.cancel(ref)
        with pytest.raises(skate.exceptions.TaskCancelledError):
            skate.get(ref, timeout=PATIENCE_S)


def test_worker_that_outlived_it_is_missed_when_it_dies(skate, gate):
    @skate.remote(max_retries=0)
    def wait(gate):
        gate.write_bytes(f"{os.getpid()} {os.getppid()}".encode())
        signal.pause()

    ref = wait.remote(gate)
    pid, zygote = map(int, gate.read_bytes().split())
    kill(zygote)
    kill(pid)
    with pytest.raises(skate.exceptions.WorkerCrashedError, match=str(pid)):
        skate.get(ref, timeout=PATIENCE_S)
    assert skate.get(skate.remote(lambda: 2).remote(), timeout=PATIENCE_S) == 2


def test_children_of_a_worker_that_outlived_it_go_with_the_worker(skate, gate):
    import subprocess

    @skate.remote(max_retries=0)
    def start_child(gate):
        child = subprocess.Popen(["tail", "-f", "/dev/null"])
        gate.write_bytes(f"{os.getpid()} {os.getppid()} {child.pid}".encode())
        signal.pause()

    ref = start_child.remote(gate)
    pid, zygote, child = map(int, gate.read_bytes().split())
    kill(zygote)
    kill(pid)
    with pytest.raises(skate.exceptions.WorkerCrashedError):
        skate.get(ref, timeout=PATIENCE_S)
    assert wait_for_end(child)


def test_the_same_when_there_is_a_new_zygote(skate, gates):
    # It was asked how the worker had ended, for a second in vain, and the children stayed.
    import subprocess

    @skate.remote(max_retries=0, num_cpus=0)
    def start_child(gate):
        child = subprocess.Popen(["sleep", "300"], stdout=subprocess.DEVNULL)
        gate.write_bytes(f"{os.getpid()} {os.getppid()} {child.pid}".encode())
        signal.pause()

    rows, refs = [], []
    for k in range(2):
        gate = gates(f"gate{k}")
        refs.append(start_child.remote(gate))
        rows.append(list(map(int, gate.read_bytes().split())))
    (old, zygote, child), _ = rows
    kill(zygote)
    while not any(parent_of(parent) == os.getpid() for _, parent, _ in rows):
        gate = gates(f"gate{len(rows)}")
        refs.append(start_child.remote(gate))
        rows.append(list(map(int, gate.read_bytes().split())))
    kill(old)
    with pytest.raises(skate.exceptions.WorkerCrashedError):
        skate.get(refs[0], timeout=PATIENCE_S)
    has_ended = wait_for_end(child)
    if not has_ended:
        os.kill(child, signal.SIGKILL)
    assert has_ended
    for ref in refs[1:]:
        skate.cancel(ref, force=True)


@pytest.mark.parametrize("end", ["skate.shutdown(); os.write(1, b'down\\n')", "os._exit(0)"])
def test_workers_that_outlived_it_end_with_the_session(start, end):
    program = start(
        f"""
        import subprocess
        skate.init(num_cpus=2)

        @skate.remote
        def start_child():
            subprocess.Popen(["tail", "-f", "/dev/null"])
            return os.getppid()

        zygote = skate.get(start_child.remote())
        os.kill(zygote, signal.SIGKILL)
        print("ready", flush=True)
        sys.stdin.read(1)
        {end}
        sys.stdin.read(1)
        """,
        stdin=-1,
    )
    assert program.line() == "ready"
    program.popen.stdin.write(b"x")
    program.popen.stdin.flush()
    if "down" in end:
        assert program.line() == "down"
        assert set(program.processes()) == {program.pid}
    program.popen.stdin.close()
    program.popen.stdin = None
    assert program.finish()[0] == 0
    program.check_nothing_is_left()


@pytest.mark.parametrize("moment", [0, 1, 3, 6, 11])
def test_while_workers_are_being_started(start, moment):
    # It dies as soon as the n-th child has appeared, reported to the driver or not. A worker that
    # the driver does not know must end, having run nothing: each task runs once.
    program = start(
        """
        skate.init(num_cpus=12)

        @skate.remote(max_retries=0)
        def work(k):
            while not os.path.exists("go"):  # a few workers would do them all
                time.sleep(0.01)
            with open(os.environ["LOG"], "ab") as log:
                log.write(b"x")
            return k

        refs = [work.remote(k) for k in range(12)]
        print("ready", flush=True)
        print(sorted(skate.get(refs)) == list(range(12)), flush=True)
        sys.stdin.read()
        """,
        environment={"LOG": "log"},
        stdin=-1,
    )
    zygote = 0
    while not zygote:
        children = [pid for pid in program.processes() if parent_of(pid) == program.pid]
        zygote = children[0] if children else 0
    while len(children_of(zygote)) < moment:
        pass
    os.kill(zygote, signal.SIGKILL)
    log = program.stderr_path.parent / "log"
    log.with_name("go").touch()
    assert program.line() == "ready"
    assert program.line() == "True"
    # Whoever runs now is known to the driver.
    assert log.stat().st_size == 12
    program.popen.stdin.close()
    program.popen.stdin = None
    assert program.finish()[0] == 0
    program.check_nothing_is_left()


def children_of(pid):
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return range(99)
