"""What the driver shows of actors."""

import subprocess
import sys


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout, done.stderr


def test_lines_carry_the_class_or_the_repr():
    stdout, _ = run("""
import skate
skate.init(num_cpus=1)

@skate.remote
class Plain:
    def say(self):
        print("from plain")

@skate.remote
class Named:
    def __repr__(self):
        return "Named(7)"

    def say(self):
        print("from named")

skate.get([Plain.remote().say.remote(), Named.remote().say.remote()])
skate.shutdown()
""")
    lines = sorted(stdout.splitlines())
    assert [line.partition(" pid=")[0] for line in lines] == ["(Named(7)", "(Plain"]
    assert [line.rpartition(") ")[2] for line in lines] == ["from named", "from plain"]


def test_blocked_loop_is_reported_once():
    _, stderr = run("""
import asyncio, sys, time
import skate
skate.init(num_cpus=1)

@skate.remote
class Loop:
    async def block(self, is_first):
        if is_first:  # what the machine itself has held up before counts for nothing
            asyncio.get_running_loop()._selector._is_reported = False
            print("from here on", file=sys.stderr)
        time.sleep(1.1)

loop = Loop.remote()
skate.get([loop.block.remote(True), loop.block.remote(False)])
skate.get(loop.__ray_ready__.remote())
skate.shutdown()
""")
    _, begun, reports = stderr.partition("from here on")
    assert begun
    assert reports.count("was blocked for") == 1
    assert "Loop.block" in reports


def test_error_of_a_constructor_that_nobody_fetched_is_reported_once():
    _, stderr = run("""
import skate
skate.init(num_cpus=1)

@skate.remote
class Broken:
    def __init__(self):
        raise ValueError("cannot be made")

    def work(self):
        pass

broken = Broken.remote()
calls = [broken.work.remote() for _ in range(3)]
skate.wait(calls, num_returns=3)
del broken, calls
while skate.statistics().actors:
    skate.wait([skate.put(1)], timeout=0.01)
skate.shutdown()
""")
    assert stderr.count("whose error nobody fetched") == 1
    assert "cannot be made" in stderr
