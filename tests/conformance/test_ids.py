"""Ids: Ray's classes for them, and what refs say of theirs."""

import pickle

import pytest

SIZES = {
    "ActorID": 16,
    "JobID": 4,
    "NodeID": 28,
    "PlacementGroupID": 18,
    "TaskID": 24,
    "UniqueID": 28,
    "WorkerID": 28,
}


@pytest.mark.parametrize("name", SIZES)
def test_an_id_is_its_bytes(ray, name):
    kind, size = getattr(ray, name), SIZES[name]
    one = kind(bytes(range(size)))
    assert kind.size() == size
    assert one.binary() == bytes(range(size))
    assert one.hex() == bytes(range(size)).hex()
    assert repr(one) == f"{name}({one.hex()})"
    assert one == kind.from_hex(one.hex()) == kind.from_binary(one.binary())
    assert pickle.loads(pickle.dumps(one)) == one
    assert {one: 1}[kind(one.binary())] == 1


@pytest.mark.parametrize("name", SIZES)
def test_the_nil_id_is_that_of_nothing(ray, name):
    kind = getattr(ray, name)
    assert kind.nil().is_nil()
    assert kind.nil() == kind.nil() != kind(bytes(SIZES[name]))
    assert not kind(bytes(SIZES[name])).is_nil()


@pytest.mark.parametrize("name", SIZES)
def test_an_id_of_another_length_is_refused(ray, name):
    with pytest.raises(ValueError, match=f"needs to have length {SIZES[name]}, got 3"):
        getattr(ray, name)(b"abc")
    with pytest.raises(TypeError, match="expected bytes"):
        getattr(ray, name)("abc")


def test_ids_of_other_classes_differ(ray):
    assert ray.NodeID(bytes(28)) != ray.WorkerID(bytes(28))


def test_a_ref_names_its_task_and_its_job(ray):
    @ray.remote
    def where():
        context = ray.get_runtime_context()
        return context.get_task_id(), context.get_job_id()

    ref = where.remote()
    task, job = ray.get(ref)
    assert isinstance(ref.task_id(), ray.TaskID)
    assert ref.task_id().hex() == task
    assert isinstance(ref.job_id(), ray.JobID)
    assert ref.job_id() == ray.JobID.from_hex(job)
    assert ref.hex().startswith(ref.task_id().hex())


def test_the_id_of_an_actor_is_one(ray):
    @ray.remote
    class Actor:
        def own(self):
            return ray.get_runtime_context().get_actor_id()

    actor = Actor.remote()
    assert actor._actor_id == ray.ActorID.from_hex(ray.get(actor.own.remote()))


def test_a_ref_has_the_size_of_ids_and_no_call_site(ray):
    ref = ray.put(1)
    assert ray.ObjectRef.size() == len(ref.binary()) == 28
    assert ref.call_site() in {"", b""}
    assert isinstance(ref.owner_address(), bytes)
