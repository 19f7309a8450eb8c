"""Ctrl-C: KeyboardInterrupt wherever the driver waits, the session goes on, nothing is left."""

import fcntl
import os
import pty
import signal
import sys
import termios
import time

import pytest
from programs import PATIENCE_S, PRELUDE, readable

PROMPT_S = 2.0
"""Bound for a loaded machine; measured alone it is below 0.2 s."""

SETUP = """
import asyncio, select
import numpy as np

skate.init(num_cpus=2, object_store_memory=80 << 20)

@skate.remote
def wait_for_ever():
    signal.pause()

@skate.remote
def items():
    yield os.getpid()
    signal.pause()

def waiting():
    os.write(1, b"waiting\\n")

async def naps():
    while True:
        await asyncio.sleep(0.01)

async def wait_async(awaitable):
    # Said here: one that comes before may come out of `asyncio.run` as a CancelledError. The loop
    # naps: one just before the system call in which it would sleep for good is never noticed.
    napping = asyncio.ensure_future(naps())
    waiting()
    return await awaitable

def done(future):
    # Naps, not `result`: one that comes into the midst of a `Condition` breaks its lock.
    time.sleep(0.01)
    while not future.done():
        time.sleep(0.01)

def interrupted(what, *args, says=waiting, **kwargs):
    try:
        says()
        what(*args, **kwargs)
    except KeyboardInterrupt:
        os.write(1, b"interrupted\\n")
    else:
        os.write(1, b"it returned\\n")
"""

AFTER = """
assert skate.get([skate.remote(lambda k: k).remote(k) for k in range(10)]) == list(range(10))
os.write(1, b"usable\\n")
"""

WAITS = {
    "get": "interrupted(skate.get, wait_for_ever.remote())",
    "get_of_many": "interrupted(skate.get, [wait_for_ever.remote(), skate.put(1)])",
    "get_with_a_timeout": "interrupted(skate.get, wait_for_ever.remote(), timeout=1e6)",
    "wait": "interrupted(skate.wait, [wait_for_ever.remote()])",
    "wait_with_a_timeout": "interrupted(skate.wait, [wait_for_ever.remote()], timeout=1e6)",
    "next": "stream = items.remote(); next(stream); interrupted(next, stream)",
    "next_within": "stream = items.remote(); next(stream); interrupted(stream.next, timeout=1e6)",
    "for": "stream = items.remote(); interrupted(list, stream)",
    "await": "interrupted(asyncio.run, wait_async(wait_for_ever.remote()), says=int)",
    "anext": "stream = items.remote(); next(stream); "
    "interrupted(asyncio.run, wait_async(anext(aiter(stream))), says=int)",
    "future": "interrupted(done, wait_for_ever.remote().future())",
    "len": "ref = items.options(num_returns='dynamic').remote(); interrupted(len, skate.get(ref))",
}


def interrupt(program):
    """One SIGINT; the time from there to the KeyboardInterrupt."""
    began = time.monotonic()
    program.signal(signal.SIGINT)
    assert program.line() == "interrupted"
    took = time.monotonic() - began
    assert took < PROMPT_S
    return took


@pytest.mark.parametrize("wait", WAITS)
def test_in(start, wait, record_property):
    again = "\nskate.shutdown(); skate.init()"
    program = start(SETUP + WAITS[wait] + "\n" + WAITS[wait] + again + AFTER)
    for _ in range(2):
        assert program.line() == "waiting"
        record_property("seconds", interrupt(program))
    assert program.line() == "usable"
    program.succeed()


def test_in_get_leaves_the_task_and_the_session_as_they_were(start):
    program = start(
        SETUP
        + """
os.mkfifo("gate")

@skate.remote
def gated():
    with open("gate") as gate:
        return gate.read()

ref = gated.remote()
interrupted(skate.get, ref)
with open("gate", "w") as gate:
    gate.write("not cancelled")
assert skate.get(ref) == "not cancelled"
before = skate.statistics()
del ref
"""
        + AFTER
    )
    assert program.line() == "waiting"
    interrupt(program)
    assert program.line() == "usable"
    program.succeed()


def test_in_a_put_that_waits_for_room(start):
    # There is none, on disk neither; and as long as a task runs, it may free some.
    program = start(
        SETUP
        + """
skate.shutdown()
skate.init(num_cpus=2, object_store_memory=80 << 20, object_spilling_limit=0)
stream = items.remote()
next(stream)
view = skate.get(skate.put(np.ones(50 << 17)))
interrupted(skate.put, np.ones(50 << 17))
"""
        + AFTER
    )
    assert program.line() == "waiting"
    interrupt(program)
    assert program.line() == "usable"
    program.succeed()


def test_while_another_thread_waits_and_leads(start):
    # The main thread sleeps on its seat, another one reads the rings.
    program = start(
        SETUP
        + """
ref = wait_for_ever.remote()
def other():
    try:
        skate.get(ref)
    except skate.exceptions.RayError:
        pass
threads = [threading.Thread(target=other, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
interrupted(skate.get, ref)
skate.cancel(ref)
for thread in threads:
    thread.join()
"""
        + AFTER
    )
    assert program.line() == "waiting"
    interrupt(program)
    assert program.line() == "usable"
    program.succeed()


def test_uncaught_ends_the_driver_as_python_does(start):
    # The call comes before: Python drops one that comes in a callback of `import`.
    program = start(SETUP + "ref = wait_for_ever.remote()\nwaiting()\nskate.get(ref)")
    assert program.line() == "waiting"
    program.signal(signal.SIGINT)
    code, _, err = program.finish()
    assert code == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    program.check_nothing_is_left()


@pytest.mark.parametrize("call", ["skate.init(num_cpus=2)", "skate.shutdown()"])
@pytest.mark.parametrize("delay", [0, 1, 2])
def test_during_init_and_shutdown(start, call, delay):
    program = start(
        f"""
        import select
        dropped = []
        def unraisable(lost):
            # Python drops a Ctrl-C that comes in a callback: of `import`, or of its own weak sets.
            if not lost.object.__module__.startswith("skate"):
                dropped.append(lost.exc_type)
            sys.__unraisablehook__(lost)
        sys.unraisablehook = unraisable
        if "shutdown" in {call!r}:
            skate.init(num_cpus=2)
            skate.get(skate.remote(lambda: 1).remote())
        try:
            os.write(1, b"." * 3)
            {call}
            os.write(1, b"through\\n")
            while True:  # not `pause`, before which the signal may slip in
                select.poll().poll(20)
                if dropped:  # told here, since the hook would drop the next one, too
                    os.write(1, b"dropped\\n")
                    dropped.clear()
        except KeyboardInterrupt:
            os.write(1, b"interrupted\\n")
        skate.shutdown()
        skate.init(num_cpus=1)
        """
        + AFTER.replace("\n", "\n        ")
    )
    program.read(3)
    for _ in range(delay):
        program.processes()  # takes a moment, so that the signal comes later
    program.signal(signal.SIGINT)
    while (line := program.line()) != "interrupted":
        if line == "dropped":
            program.signal(signal.SIGINT)
    assert program.line() == "usable"
    program.succeed()


def test_twice_in_a_row(start):
    # Naps, not `pause`: a signal just before that system call would be noticed after it, so never.
    program = start(
        SETUP
        + """
interrupted(skate.get, wait_for_ever.remote())
while True:
    time.sleep(0.01)
"""
    )
    assert program.line() == "waiting"
    interrupt(program)
    program.signal(signal.SIGINT)
    code, _, _ = program.finish()
    assert code == -signal.SIGINT
    program.check_nothing_is_left()


def test_many_in_a_row_while_everything_ends(start):
    program = start(SETUP + "interrupted(skate.get, wait_for_ever.remote())")
    assert program.line() == "waiting"
    while program.popen.poll() is None:
        program.signal(signal.SIGINT)
    program.check_nothing_is_left()


def test_to_the_whole_group_as_a_terminal_does_it(start):
    # Only the driver hears of it: workers, their tasks and their children go on.
    program = start(
        SETUP
        + """
import subprocess
os.mkfifo("gate")

@skate.remote(max_retries=0)
def gated():
    child = subprocess.Popen(["cat", "gate"], stdout=subprocess.PIPE)
    return os.getpid(), child.communicate()[0]

@skate.remote
def own_pid():
    return os.getpid(), os.getppid()

ref = gated.remote()
zygote = skate.get(own_pid.remote())[1]
interrupted(skate.get, ref)
with open("gate", "w") as gate:
    gate.write("went on")
assert skate.get(ref)[1] == b"went on"
assert skate.get(own_pid.remote())[1] == zygote
""",
        start_new_session=True,
    )
    assert program.line() == "waiting"
    os.killpg(program.pid, signal.SIGINT)
    assert program.line() == "interrupted"
    program.succeed()


def test_to_a_worker_does_nothing(start):
    program = start(
        SETUP
        + """
os.mkfifo("gate")

@skate.remote(max_retries=0)
def gated():
    os.kill(os.getpid(), signal.SIGINT)
    with open("gate") as gate:
        return os.getpid(), gate.read()

ref = gated.remote()
with open("gate", "w") as gate:
    gate.write("went on")
pid, text = skate.get(ref)
os.kill(pid, signal.SIGINT)  # idle, too
print(text, flush=True)
"""
        + AFTER
    )
    assert program.line() == "went on"
    assert program.line() == "usable"
    program.succeed()


def test_at_the_interactive_prompt(start):
    """Each line is read by Python from a terminal, and each Ctrl-C typed there."""
    ours, theirs = pty.openpty()
    program = start(
        argv=[sys.executable, "-i", "-q", "-c", PRELUDE + "skate.init(num_cpus=1)"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        environment={"TERM": "dumb", "PYTHON_BASIC_REPL": "1"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""

    def until(text):
        nonlocal seen
        deadline = time.monotonic() + PATIENCE_S
        while text not in seen:
            assert readable(ours, deadline), seen
            seen += os.read(ours, 1 << 16)
        seen = seen.partition(text)[2]

    def say(line):
        until(b">>> ")
        os.write(ours, line.encode() + b"\n")

    try:
        say("never = skate.remote(num_cpus=0)(lambda: (print('runs'), signal.pause()))")
        say("none = skate.remote(num_cpus=0)(lambda: (print('runs'), signal.pause(), (yield)))")
        for wait in ("get(never.remote())", "wait([never.remote()])", "get(next(none.remote()))"):
            say(f"skate.{wait}")
            until(b"runs")
            os.write(ours, b"\x03")
            until(b"KeyboardInterrupt")
        say("skate.get(skate.remote(num_cpus=0)(lambda: 6 * 7).remote())")
        until(b"42\r\n")
        say("skate.shutdown(); print('over', skate.is_initialized())")
        until(b"over False")
        say("exit()")
        assert program.popen.wait(PATIENCE_S) == 0
    finally:
        os.close(ours)
    program.check_nothing_is_left()
