"""fork in a process that uses skate: the child is refused clearly, the parent does not notice."""

import pytest

FORK = """
import numpy as np, traceback

def in_child(work):
    # Runs `work` in a forked child; its exit code is 0 if nothing is raised.
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status

def refused(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except skate.exceptions.RaySystemError as error:
        assert "forked" in str(error), error
    else:
        raise AssertionError(f"{call} was not refused")

@skate.remote
def double(x):
    return 2 * x

@skate.remote
def items():
    yield from range(3)

"""

CALLS = """
stream = items.remote()
kept = next(stream)
dynamic = skate.get(items.options(num_returns="dynamic").remote())
ref = double.remote(4)
large = skate.put(np.ones(1 << 18))
context = skate.get_runtime_context()

def calls():
    refused(double.remote, 1)
    refused(items.remote)
    refused(skate.remote(lambda: 1).remote)
    refused(skate.put, 1)
    refused(skate.get, ref)
    refused(skate.get, [ref, large])
    refused(skate.get, ref, timeout=0)
    refused(skate.wait, [ref, large])
    refused(next, stream)
    refused(next, dynamic)
    refused(skate.cancel, ref)
    refused(skate.init)
    refused(skate.nodes)
    refused(skate.statistics)
    refused(skate.available_resources)
    refused(ref.future)
    import asyncio
    async def wait():
        return await ref
    refused(asyncio.run, wait())
    assert not skate.is_initialized()
    skate.shutdown()
"""


def test_every_call_in_the_child_is_refused(run):
    run(
        FORK
        + CALLS
        + """
in_child(calls)
assert skate.get(ref) == 8
assert skate.get(double.remote(5)) == 10
assert [skate.get(item) for item in stream] == [1, 2]
"""
    )


def test_drops_in_the_child_are_silent_and_change_nothing(run):
    _, err = run(
        FORK
        + CALLS
        + """
import gc
skate.get([stream.completed(), ref])
assert len(dynamic) == 3  # all of its items are stored, too
before = skate.statistics()
def drop():
    global ref, large, stream, dynamic, kept
    del ref, large, stream, dynamic, kept
    gc.collect()
in_child(drop)
assert skate.get(large)[-1] == 1
assert skate.get(kept) == 0
after = skate.statistics()
assert (after.objects, after.driver_handles) == (before.objects, before.driver_handles)
"""
    )
    assert err == ""


def test_child_that_ends_like_a_program_leaves_the_session_alone(run):
    # Exit handlers run in it, and the interpreter is taken down.
    out, err = run(
        FORK
        + CALLS
        + """
pid = os.fork()
if pid == 0:
    sys.exit(5)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
assert skate.get(double.remote(5)) == 10
print("parent")
"""
    )
    assert (out, err) == ("parent\n", "")


def test_child_reads_views(run):
    run(
        FORK
        + """
view = skate.get(skate.put(np.arange(1 << 18)))
small = skate.get(skate.put(np.arange(10)))
def read():
    assert view.sum() == sum(range(1 << 18)) and small.sum() == 45
    assert not view.flags.writeable
in_child(read)
"""
    )


@pytest.mark.parametrize("way", ["Process", "Pool"])
def test_multiprocessing_by_fork(run, way):
    run(
        FORK
        + f"""
import multiprocessing
context = multiprocessing.get_context("fork")

def work(x):
    refused(skate.put, x)
    return x * x

assert skate.get(double.remote(1)) == 2
if {way!r} == "Pool":
    with context.Pool(2) as pool:
        results = pool.map_async(work, range(10))
        assert skate.get([double.remote(k) for k in range(10)]) == [2 * k for k in range(10)]
        assert results.get(20) == [k * k for k in range(10)]
else:
    child = context.Process(target=work, args=(3,))
    child.start()
    child.join()
    assert child.exitcode == 0
assert skate.get(double.remote(2)) == 4
"""
    )


def test_multiprocessing_by_spawn_has_a_session_of_its_own(run, tmp_path):
    import sys

    (tmp_path / "script.py").write_text("""
import multiprocessing, os, skate

@skate.remote
def parent_of_worker():
    return os.getppid()

def work(queue):
    queue.put(skate.get(parent_of_worker.remote()))

if __name__ == "__main__":
    mine = skate.get(parent_of_worker.remote())
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=work, args=(queue,))
    child.start()
    assert queue.get(timeout=20) != mine
    child.join()
    assert child.exitcode == 0
    assert skate.get(parent_of_worker.remote()) == mine
""")
    run(argv=[sys.executable, "script.py"])


def test_child_of_before_init_has_a_session_of_its_own(run):
    run(
        FORK
        + """
def work():
    skate.init(num_cpus=1)
    assert skate.get(double.remote(4)) == 8
    skate.shutdown()
in_child(work)
assert skate.get(double.remote(5)) == 10
"""
    )


def test_child_of_after_shutdown_has_a_session_of_its_own(run):
    run(
        FORK
        + """
assert skate.get(double.remote(5)) == 10
skate.shutdown()
def work():
    assert skate.get(double.remote(4)) == 8
    skate.shutdown()
in_child(work)
assert skate.get(double.remote(5)) == 10
"""
    )


@pytest.mark.parametrize("within", ["_start", "_wake_waiters"])
def test_child_of_within_init_or_shutdown_has_a_session_of_its_own(run, within):
    # It waited for ever for a lock of a thread that it has not, or was told of that one's shutdown.
    run(
        FORK
        + f"""
from skate import _session
assert skate.get(double.remote(5)) == 10
skate.shutdown()
inside, go_on = threading.Event(), threading.Event()
whole = _session.{within}
def stopped(*args, **kwargs):
    inside.set()
    go_on.wait()
    return whole(*args, **kwargs)
_session.{within} = stopped
def other():
    skate.init(num_cpus=1)
    skate.shutdown()
thread = threading.Thread(target=other)
thread.start()
inside.wait()
def work():
    _session.{within} = whole
    assert skate.get(double.remote(4)) == 8
    skate.shutdown()
in_child(work)
go_on.set()
thread.join()
"""
    )


def test_forks_while_threads_are_busy(run):
    # Whatever lock a thread of the parent holds at that moment, the child waits for none.
    run(
        FORK
        + """
stop = threading.Event()
def work():
    while not stop.is_set():
        skate.get([double.remote(k) for k in range(10)])
        stream = items.remote()
        skate.get(next(stream))
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
held = [double.remote(k) for k in range(10)]
stream = items.remote()
def child():
    global held, stream
    refused(skate.get, held)
    refused(next, stream)
    del held, stream
for _ in range(40):
    in_child(child)
stop.set()
for thread in threads:
    thread.join()
assert skate.get(held) == [2 * k for k in range(10)]
"""
    )


def test_child_that_outlives_the_parent_holds_no_process(start):
    program = start(
        FORK
        + """
assert skate.get(double.remote(5)) == 10
if os.fork() == 0:
    os.write(1, b"child\\n")
    sys.stdin.read()
    os._exit(0)
os.write(1, b"parent\\n")
""",
        stdin=-1,
    )
    assert {program.line(), program.line()} == {"child", "parent"}
    assert program.popen.wait(timeout=20) == 0
    from programs import wait_until

    wait_until(lambda: len(program.processes()) == 1, program.stacks)
    program.popen.stdin.close()
    program.popen.stdin = None
    program.check_nothing_is_left()


WORKER = """
@skate.remote(max_retries=0)
def task():
{body}

print(skate.get(task.remote(), timeout=20))
assert skate.get(double.remote(2)) == 4
"""


def worker(body):
    import textwrap

    return FORK + WORKER.format(body=textwrap.indent(textwrap.dedent(body), "    "))


def test_multiprocessing_inside_a_task(run):
    out, _ = run(
        worker("""
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, [-1, -2, -3])
        """)
    )
    assert out == "[1, 2, 3]\n"


def test_skate_calls_in_a_child_of_a_task_are_refused(run):
    out, _ = run(
        worker("""
        ref = skate.put(1)
        large = skate.put(np.ones(1 << 18))
        view = skate.get(large)
        def child():
            global refs
            refused(skate.get, ref)
            refused(skate.put, 1)
            refused(double.remote, 1)
            assert view.sum() == 1 << 18
        in_child(child)
        return skate.get(ref)
        """)
    )
    assert out == "1\n"


@pytest.mark.parametrize("how", ["return 'child'", "raise ValueError('child')", "sys.exit(0)"])
def test_child_that_comes_back_from_its_task_is_ended(run, how):
    out, err = run(
        worker(f"""
        pid = os.fork()
        if pid == 0:
            {how}
        _, status = os.waitpid(pid, 0)
        return "parent", os.WIFSIGNALED(status) and os.WTERMSIG(status)
        """)
    )
    assert out.startswith("('parent', ")
    if "exit" not in how:
        assert "forked by a task came back" in err


def test_child_that_goes_on_with_the_generator_of_a_task_is_ended(run):
    out, err = run(
        FORK
        + """
@skate.remote(max_retries=0)
def numbers():
    pid = os.fork()
    for k in range(3):
        yield k, pid == 0
    os.waitpid(pid, 0)
print([skate.get(ref) for ref in numbers.remote()])
"""
    )
    assert out == "[(0, False), (1, False), (2, False)]\n"
    assert "forked by a task came back" in err


def test_child_keeps_no_memory_of_a_session_that_has_ended(run):
    """It holds the store's descriptor, and with that all that was in it: 100 MB here."""
    run(
        FORK
        + """
def held(pid):
    total = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        total += os.stat(f"/proc/{pid}/fd/{name}").st_blocks * 512
    return total

skate.init(num_cpus=1, object_store_memory=200_000_000)
for _ in range(2):
    kept = skate.get(skate.put(np.arange(1 << 18)))
    gone = [skate.put(np.ones(10_000_000, "u1")) for _ in range(10)]
    gate, ours = os.pipe()
    told, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        os.write(tells, b"t")  # it opens and closes nothing any more
        os.read(gate, 1)
        os._exit(0 if kept.sum() == sum(range(1 << 18)) else 1)
    os.close(gate)
    os.read(told, 1)
    assert held(pid) > 100_000_000
    skate.shutdown()
    assert held(pid) < 10_000_000, held(pid)
    assert kept.sum() == sum(range(1 << 18))
    os.close(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    skate.init(num_cpus=1, object_store_memory=200_000_000)
"""
    )
