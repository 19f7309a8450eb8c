"""A process of a session is killed at each named point of the code: what is promised still holds.

rust/shm/src/killpoint.rs names every place where a process publishes, claims, leases, parks, forks
or frees. The first process of a role that comes to a point for the n-th time is killed; the program
in victims.py goes on and knows what must come out. `make chaos` builds the extension that has the
points beside the ordinary one, and sets SKATE_KILL_POINTS to where it is.
"""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from victims import Victims

BUILD = os.environ.get("SKATE_KILL_POINTS", "")
ARRIVALS = [int(n) for n in os.environ.get("SKATE_CHAOS_ARRIVALS", "1 2 5").split()]
SEEDS = int(os.environ.get("SKATE_CHAOS_SEEDS", "10"))
MANY = 20
"""Killed in one session."""
ROLES = ("worker", "zygote", "driver")
ROUNDS = 4
"""Of the program, before a point is not waited for any more."""
TIMEOUT_S = 60

OF_THE_NODE = {"Offered", "Revoked", "Granted", "Asked", "Punching", "Punched"}
OF_THE_NODE |= {"Sending", "Sent", "Received", "Closing"}
OF_THE_ZYGOTE = {"Forked", "Reporting", "Reported", "Reaped"}
OF_A_START = {"Born", "Joined"}
OFTEN = {"Publishing", "Published", "Reading", "Read", "Flagged", "Parking", "Woken", "Claimed"}
RARE = {"PublishedInPart", "Spilling", "Spilled", "Restored", "Leaving", "BackgroundParking"}
OF_WORKERS = {"Flagged", "Claimed", "Leaving"} | OF_A_START


needs_build = pytest.mark.skipif(
    not BUILD, reason="make chaos builds the extension that has kill points"
)


def points():
    if not BUILD:
        return []
    argv = [sys.executable, "-c", "from skate import _native; print(*_native.KILL_POINTS)"]
    environment = {**os.environ, "PYTHONPATH": BUILD}
    return subprocess.check_output(argv, env=environment, text=True).split()


def may_come(role, point):
    """Whether a process of that role comes there at all."""
    if role == "zygote" or point in OF_THE_ZYGOTE:
        return role == "zygote" and point in OF_THE_ZYGOTE
    return point not in (OF_THE_NODE if role == "worker" else OF_WORKERS)


def cases(arrivals):
    return [
        (role, at, n) for role in ROLES for at in points() if may_come(role, at) for n in arrivals
    ]


def play(start, directory, kills, rounds, timeout=TIMEOUT_S):
    """How many were killed."""
    permits = (Victims.permit(directory, number) for number in range(len(kills)))
    targets = (f"{kill}:{permit}" for kill, permit in zip(kills, permits, strict=True))
    environment = {"PYTHONPATH": BUILD, "SKATE_KILL_POINT": ",".join(targets)}
    victims = Victims(start, directory, kills=len(kills), rounds=rounds, environment=environment)
    victims.check_end(timeout, is_driver=kills[0].startswith("driver:"))
    return victims.killed()


@needs_build
@pytest.mark.timeout(2 * TIMEOUT_S)
@pytest.mark.parametrize(("role", "at", "arrival"), cases(ARRIVALS))
def test_role_is_killed_at_that_point(start, tmp_path, role, at, arrival):
    if not play(start, tmp_path, [f"{role}:{at}:{arrival}"], ROUNDS):
        assert arrival > 1, "nobody came there"
        pytest.skip("nobody came there so often")


@needs_build
@pytest.mark.timeout(2 * TIMEOUT_S)
@pytest.mark.parametrize("role", ROLES)
def test_role_comes_to_no_other_point(start, tmp_path, role):
    others = [at for at in points() if not may_come(role, at)]
    assert play(start, tmp_path, [f"{role}:{'+'.join(others)}:1"], 1) == 0


@needs_build
@pytest.mark.timeout(6 * TIMEOUT_S)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_many_are_killed_in_one_session(start, tmp_path, seed):
    random = Random(seed)
    common = [at for at in points() if may_come("worker", at) and at not in OF_A_START | RARE]
    kills = []
    for at in random.choices(common, k=MANY - 4):
        kills.append(f"worker:{at}:{random.randint(1, 30 if at in OFTEN else 3)}")
    kills += [f"worker:{at}:1" for at in random.sample(sorted(RARE), 2)]
    kills += [f"worker:{random.choice(sorted(OF_A_START))}:1"]
    kills += [f"zygote:{random.choice(sorted(OF_THE_ZYGOTE))}:{random.randint(1, 4)}"]
    random.shuffle(kills)
    assert play(start, tmp_path, kills, 2 * MANY, 5 * TIMEOUT_S) == MANY


PANICS = """
skate.init(num_cpus=1)
double = skate.remote(lambda x: 2 * x)
assert skate.get(double.remote(1)) == 2

@skate.remote
def never():
    time.sleep(1000)

def told(call):
    try:
        return call()
    except BaseException as error:
        return f"{type(error).__name__} {error}"

heard = []
ref = never.remote()
waiting = threading.Thread(target=lambda: heard.append(told(lambda: skate.get(ref))))
waiting.start()
open(os.environ["PERMIT"], "x").close()
print(told(lambda: never.options(num_cpus=0).remote()))
waiting.join()
print(*heard)
print(told(lambda: double.remote(1)))
skate.shutdown()
skate.init(num_cpus=1)
print(skate.get(double.remote(2)))
"""


@needs_build
def test_call_that_panics_in_the_node_loses_the_session(start, tmp_path):
    permit = str(tmp_path / "permit")
    environment = {
        "PYTHONPATH": BUILD,
        "SKATE_KILL_POINT": f"panics:Offered:1:{permit}",
        "PERMIT": permit,
    }
    out, _ = start(PANICS, environment=environment).succeed(TIMEOUT_S)
    panic, *others, last = out.splitlines()
    assert panic == "PanicException on purpose, at Offered"
    assert len(others) == 2
    for line in others:
        assert line.startswith("RaySystemError")
        assert "the session is lost: a bug of skate: a call panicked in the node" in line
    assert last == "4"


def test_ordinary_build_has_no_kill_points(skate):
    from skate import _native

    assert b"SKATE_KILL_POINT" not in Path(_native.__file__).read_bytes()
    assert not hasattr(_native, "reached")
