"""5.10: `skate stack` shows what every process does, whatever it does, and disturbs none."""

import json
import os
import signal
import stat

import pytest

pytestmark = pytest.mark.processes("it looks at drivers from other processes")

BUSY = """
import asyncio, re, threading, time

@skate.remote(num_cpus=0)
def loops(path):
    open(path, "w").close()
    while True:
        pass

@skate.remote(num_cpus=0)
def keeps_the_interpreter(path):
    open(path, "w").close()
    return sum(range(10**13))

@skate.remote(num_cpus=0)
def sleeps(path):
    open(path, "w").close()
    time.sleep(1000)

@skate.remote(num_cpus=0)
class Async:
    async def inner(self, path):
        open(path, "w").close()
        await asyncio.sleep(1000)

    async def waits(self, path):
        await self.inner(path)

@skate.remote(num_cpus=0, max_concurrency=2)
class Threaded:
    def works(self, path):
        open(path, "w").close()
        threading.Event().wait(1000)

def begin(call):
    ref = call.remote(name := f"{id(call)}.begun")
    while not os.path.exists(name):
        time.sleep(0.005)
    return ref
"""


def stacks(ran):
    """The rows by the names of their tasks; the driver's by "driver"."""
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return {
        "driver" if row["worker_type"] == "DRIVER" else ", ".join(row["tasks"]): row
        for row in json.loads(ran.stdout)
    }


def functions(row, thread="MainThread"):
    [found] = [
        [frame["function"] for frame in each["frames"]]
        for each in row["threads"]
        if each["name"] == thread and (thread == "MainThread" or each["frames"])
    ]
    return found


@pytest.mark.parametrize("name", ["loops", "keeps_the_interpreter", "sleeps"])
def test_a_task_is_seen_whatever_it_does(start, skate_program, until, name):
    driver = start(f"{BUSY}\nref = begin({name})\n")
    last = {
        "loops": {"while True:", "pass"},
        "keeps_the_interpreter": {"return sum(range(10**13))"},
        "sleeps": {"time.sleep(1000)"},
    }

    def is_seen():  # at first it may still be where it says that it has begun
        shown = stacks(skate_program("stack", "--pid", driver.pid, "--json"))
        assert functions(shown[name]) == [name]
        [frame] = shown[name]["threads"][0]["frames"]
        return frame["code"] in last[name]

    until(is_seen)


def test_the_driver_shows_its_own_lines_and_not_those_of_the_engine(start, skate_program, until):
    body = "def wait():\n    skate.get(ref)\n"
    thread = "threading.Thread(target=wait, name='waiter', daemon=True).start()\n"
    driver = start(f"{BUSY}\nref = begin(sleeps)\n{body}{thread}")

    def waits():  # the thread may have begun to run only just
        row = stacks(skate_program("stack", "--pid", driver.pid, "--json"))["driver"]
        assert functions(row) == ["<module>"]
        named = [each["name"] for each in row["threads"] if each["frames"]]
        return "waiter" in named and functions(row, "waiter") == ["wait"]

    until(waits)


def test_coroutines_of_an_async_actor_are_followed_to_what_they_await(start, skate_program, until):
    driver = start(f"{BUSY}\nactor = Async.remote()\nref = begin(actor.waits)\n")

    def names():
        shown = stacks(skate_program("stack", "--pid", driver.pid, "--json"))
        [each] = shown["Async.waits"]["coroutines"]
        assert each["name"] == "Async.waits"
        return [frame["function"] for frame in each["frames"]]

    until(lambda: names() == ["Async.waits", "Async.inner", "sleep"])


def test_threads_of_an_actor_have_their_names(start, skate_program):
    driver = start(f"{BUSY}\nactor = Threaded.remote()\nref = begin(actor.works)\n")
    shown = stacks(skate_program("stack", "--pid", driver.pid, "--json"))
    row = shown["Threaded.works"]
    [lane] = [thread for thread in row["threads"] if thread["frames"]]
    assert lane["name"].startswith("skate-lane")
    assert lane["frames"][0]["function"] == "Threaded.works"


def test_it_is_shown_for_people(start, skate_program, until):
    driver = start(f"{BUSY}\nref = begin(sleeps)\n")
    until(lambda: "time.sleep(1000)" in skate_program("stack", "--pid", driver.pid).stdout)
    ran = skate_program("stack", "--pid", driver.pid)
    assert ran.stderr == ""
    lines = ran.stdout.splitlines()
    assert lines[0] == f"── driver {driver.pid}: DRIVER"
    place = next(place for place, line in enumerate(lines) if line.endswith(": RUNNING sleeps"))
    assert lines[place + 1] == "  thread MainThread"
    assert lines[place + 2].endswith(", in sleeps")
    assert lines[place + 3] == "      time.sleep(1000)"
    pid = int(lines[place].split()[2].rstrip(":"))
    one = skate_program("stack", "--pid", driver.pid, "--worker", pid)
    assert one.stdout.splitlines() == lines[place : place + 4]
    refused = skate_program("stack", "--pid", driver.pid, "--worker", 1)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "has no process 1" in refused.stderr


def test_a_task_that_was_looked_at_goes_on(start, skate_program, tmp_path):
    """The signal is for C code that keeps the interpreter: such a task ends as if nobody looked."""
    body = """
import functools, mmap, operator, threading

@skate.remote
def adds(path):
    with open("switch", "r+b") as file, mmap.mmap(file.fileno(), 1) as switch:
        open(path, "w").close()
        return sum(iter(functools.partial(operator.getitem, switch, 0), 1), start=7)

ref = adds.remote("begun")
while not os.path.exists("begun"):
    time.sleep(0.005)
threading.Thread(target=lambda: open("sum", "w").write(str(skate.get(ref)))).start()
"""
    switch = tmp_path / "switch"
    switch.write_bytes(b"\0")
    driver = start(body)
    assert functions(stacks(skate_program("stack", "--pid", driver.pid, "--json"))["adds"])
    with switch.open("r+b") as file:  # not `write_bytes`: that would truncate what is mapped
        file.write(b"\1")
    driver.stdin.close()
    driver.wait(60)
    assert (tmp_path / "sum").read_text() == "7"


def test_a_stopped_process_is_said_to_be_stopped(start, skate_program):
    driver = start(f"{BUSY}\nref = begin(sleeps)\n")
    shown = stacks(skate_program("stack", "--pid", driver.pid, "--json"))
    pid = shown["sleeps"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    ran = skate_program("stack", "--pid", driver.pid, "--worker", pid)
    os.kill(pid, signal.SIGCONT)
    assert ran.returncode == 1
    assert "it is stopped" in ran.stdout


def test_native_frames_come_from_py_spy(start, skate_program, tmp_path):
    driver = start("skate.get(f.remote())\n")
    path = f"{tmp_path}:{os.environ['PATH']}"
    ran = skate_program("stack", "--native", "--pid", driver.pid, PATH=str(tmp_path))
    if ran.returncode:  # py-spy may be installed beside this interpreter
        assert "--native needs py-spy" in ran.stderr
    spy = tmp_path / "py-spy"
    spy.write_text('#!/bin/sh\necho "$2 stack of $4"\n')
    spy.chmod(spy.stat().st_mode | stat.S_IXUSR)
    ran = skate_program("stack", "--native", "--pid", driver.pid, PATH=path)
    assert f"--native stack of {driver.pid}" in ran.stdout
