"""Ids where skate differs: state takes them, refs are not made of them."""

import pytest


def test_the_state_api_takes_ids(skate):
    from skate.util import state

    ref = skate.put(1)
    task = skate.remote(lambda: 1).remote()
    skate.get(task)
    assert state.get_task(task.task_id()).task_id == task.task_id().hex()
    (row,) = state.list_tasks(filters=[("task_id", "=", task.task_id())])
    assert row.task_id == task.task_id().hex()
    assert state.get_objects(ref.hex())


def test_an_id_does_not_make_a_ref(skate):
    said = "an id is no handle, and keeps no value alive: pass the ref itself"
    with pytest.raises(TypeError, match=said):
        skate.ObjectRef(bytes(28))
    with pytest.raises(TypeError, match=said):
        skate.ObjectRef.from_binary(bytes(28))
    with pytest.raises(TypeError, match=said):
        skate.ObjectRef.from_hex("00" * 28)


def test_free_takes_refs_and_leaves_them(skate):
    from skate.internal import free

    ref = skate.put(1)
    free([ref])
    free(ref, local_only=True)
    assert skate.get(ref) == 1
    with pytest.raises(TypeError, match=r"not an ray\.ObjectRef"):
        free(["x"])


def test_languages_are_known_by_name(skate):
    assert [str(each) for each in skate.Language] == ["PYTHON", "JAVA", "CPP"]


def test_client_is_init_in_steps(fresh):
    with fresh.client("local").namespace("steps").connect():
        assert fresh.get_runtime_context().namespace == "steps"
    assert not fresh.is_initialized()


def test_a_handle_names_each_method_once(skate):
    """One that had been used was named twice."""

    @skate.remote(num_cpus=0)
    class Named:
        def method(self):
            return dir(self)

    actor = Named.remote()
    skate.get(actor.method.remote())
    assert dir(actor).count("method") == 1
