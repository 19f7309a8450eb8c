"""Actors that come and go leave nothing behind."""

import os
import signal
import time

import pytest


@pytest.fixture(scope="module")
def Small(skate):
    @skate.remote
    class Small:
        def __init__(self, *values):
            self.values = values

        def pid(self):
            return os.getpid()

        def make(self):
            return bytes(100_000)

        def items(self, count):
            for index in range(count):
                yield index

        def wait_for(self, gate):
            gate.read_bytes()

        def fail(self):
            raise ValueError("failed")

    return Small


def settle(skate):
    """Waits until the processes of dead actors are gone, then counts."""
    counters = skate.statistics()
    while counters.actors or counters.leases:
        skate.wait([skate.put(None)], timeout=0.01)
        counters = skate.statistics()
    return counters


def test_counters_return_to_zero(skate, Small):
    small = Small.remote(skate.put(1), [skate.put(2)], bytes(200_000))
    made = small.make.remote()
    assert len(skate.get(made)) == 100_000
    stream = small.items.remote(5)
    assert skate.get(next(stream)) == 0
    with pytest.raises(ValueError, match="failed"):
        skate.get(small.fail.remote())
    del small, made, stream
    counters = settle(skate)
    of_machine = ("capacity", "warm", "resident", "huge", "workers", "templates")
    left = {name: n for name, n in counters.items() if n and not name.startswith(of_machine)}
    assert not left
    assert counters.workers == counters.workers_idle


def test_thousand_actors_leave_nothing(skate, Small):
    workers = skate.statistics().workers
    pids = set()
    for _ in range(40):
        batch = [Small.remote() for _ in range(25)]
        pids.update(skate.get([small.pid.remote() for small in batch]))
        del batch
    assert len(pids) == 1000
    counters = settle(skate)
    assert (counters.actors, counters.tasks, counters.objects, counters.requests) == (0, 0, 0, 0)
    assert counters.driver_handles == 0
    assert counters.workers <= workers
    # The node may hear of an end before the zygote, which is late, has reaped the process.
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):  # noqa: PTH110
        time.sleep(0.001)


def test_actor_that_never_had_a_place_ends_with_its_handle(skate, Small):
    small = Small.options(num_cpus=1000).remote()
    call = small.pid.remote()
    assert skate.statistics().actors == 1
    skate.kill(small)
    with pytest.raises(skate.exceptions.ActorDiedError):
        skate.get(call)
    unplaced = Small.options(num_cpus=1000).remote()
    del small, unplaced
    assert settle(skate).actors == 0


def test_crash_gives_back_what_the_actor_held(skate, Small):
    small = Small.remote()
    kept = skate.get(small.__ray_call__.remote(_keep))
    os.kill(kept, signal.SIGKILL)
    with pytest.raises(skate.exceptions.ActorDiedError):
        skate.get(small.pid.remote())
    del small
    counters = settle(skate)
    assert (counters.objects, counters.worker_handles, counters.used_bytes) == (0, 0, 0)


def _keep(small):
    import skate as module

    small.kept = [module.put(bytes(100_000)) for _ in range(3)]
    return os.getpid()


def test_resources_return_when_an_actor_is_killed(skate, Small):
    small = Small.options(num_cpus=2).remote()
    skate.get(small.pid.remote())
    assert "CPU" not in skate.available_resources()
    skate.kill(small)
    del small
    settle(skate)
    assert skate.available_resources()["CPU"] == 2


def test_actor_with_all_cpus_lends_them_while_it_waits(skate):
    @skate.remote
    def inner():
        return "done"

    @skate.remote(num_cpus=2)
    class Greedy:
        def call(self):
            return skate.get(inner.remote())

    greedy = Greedy.remote()
    assert skate.get(greedy.call.remote()) == "done"
