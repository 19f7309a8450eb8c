"""`ActorGroup`: actors of one class that are called together."""

import importlib
import os

import pytest


@pytest.fixture
def ActorGroup(ray):
    return importlib.import_module(f"{ray.__name__}.util.actor_group").ActorGroup


class Member:
    def __init__(self, base=0):
        self.base = base

    def get_actor_metadata(self):
        return f"base {self.base}"

    def add(self, n):
        self.base += n
        return self.base

    def pid(self):
        return os.getpid()


@pytest.fixture
def group(ActorGroup):
    made = ActorGroup(Member, num_actors=2, num_cpus_per_actor=0, init_args=(10,))
    yield made
    if len(made):
        made.shutdown(patience_s=0)


def test_a_call_reaches_every_member_in_order(ray, group):
    assert len(group) == 2
    assert ray.get(group.add.remote(1)) == [11, 11]
    assert ray.get(group[0].actor.add.remote(1)) == 12
    assert ray.get(group.add.remote(0)) == [12, 11]


def test_members_have_the_metadata_that_they_gave(group):
    assert group.actor_metadata == ["base 10", "base 10"]
    assert group[1].metadata == "base 10"


def test_members_can_be_added_and_removed(ray, group):
    before = ray.get(group.pid.remote())
    group.add_actors(1)
    assert len(group) == 3
    group.remove_actors([0])
    after = ray.get(group.pid.remote())
    assert after[0] == before[1]
    assert len(after) == 2


def test_after_a_shutdown_calls_are_refused_until_it_is_started_again(ray, group):
    group.shutdown()
    assert len(group) == 0
    with pytest.raises(RuntimeError, match=r"(?i)shut ?down"):
        group.add.remote(1)
    group.start()
    assert ray.get(group.add.remote(1)) == [11, 11]


def test_a_group_that_runs_is_not_started_twice(group):
    with pytest.raises(RuntimeError, match="started"):
        group.start()


def test_methods_are_not_called_directly(group):
    with pytest.raises(TypeError, match=r"add\.remote"):
        group.add(1)


@pytest.mark.parametrize("wrong", [{"num_actors": 0}, {"num_cpus_per_actor": -1}])
def test_nothing_and_less_are_refused(ActorGroup, wrong):
    with pytest.raises(ValueError, match=r"num_actors|num_cpus_per_actor|CPUs"):
        ActorGroup(Member, **wrong)
