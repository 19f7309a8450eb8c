"""Names of actors."""

import pytest


@pytest.fixture(scope="module")
def Named(ray):
    @ray.remote
    class Named:
        def __init__(self, value=None):
            self.value = value

        def get(self):
            return self.value

    return Named


def test_actor_is_found_by_its_name(ray, Named):
    made = Named.options(name="found").remote(5)
    assert ray.get_actor("found") == made
    assert ray.get(ray.get_actor("found").get.remote()) == 5


def test_actor_is_found_by_tasks(ray, Named):
    made = Named.options(name="for tasks").remote(6)

    @ray.remote
    def find():
        return ray.get(ray.get_actor("for tasks").get.remote())

    assert ray.get(find.remote()) == 6
    del made


def test_missing_name_is_a_value_error(ray):
    with pytest.raises(ValueError, match="Failed to look up actor with name 'nobody'"):
        ray.get_actor("nobody")
    with pytest.raises(ValueError, match="non-empty"):
        ray.get_actor("")


def test_taken_name_is_a_value_error(ray, Named):
    first = Named.options(name="taken").remote(1)
    with pytest.raises(ValueError, match=r"The name taken .* is already taken"):
        Named.options(name="taken").remote(2)
    assert ray.get(first.get.remote()) == 1


def test_get_if_exists_makes_one_and_then_finds_it(ray, Named):
    get = Named.options(name="one", get_if_exists=True)
    first = get.remote(1)
    second = get.remote(2)
    assert first == second
    assert ray.get(second.get.remote()) == 1
    with pytest.raises(ValueError, match="name must be specified to use `get_if_exists`"):
        Named.options(get_if_exists=True).remote()


def test_name_is_free_after_a_kill(ray, Named):
    first = Named.options(name="again").remote(1)
    ray.get(first.get.remote())
    ray.kill(first)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(first.get.remote())
    second = Named.options(name="again", get_if_exists=True).remote(2)
    assert ray.get(second.get.remote()) == 2


def test_namespaces_are_apart(ray, Named):
    here = Named.options(name="twin").remote("here")
    there = Named.options(name="twin", namespace="elsewhere").remote("there")
    assert ray.get(ray.get_actor("twin").get.remote()) == "here"
    assert ray.get(ray.get_actor("twin", namespace="elsewhere").get.remote()) == "there"
    assert "twin" in ray.util.list_named_actors()
    everywhere = ray.util.list_named_actors(all_namespaces=True)
    assert {"name": "twin", "namespace": "elsewhere"} in everywhere
    del here, there


def test_detached_actor_needs_no_handle(ray, Named):
    Named.options(name="free", lifetime="detached").remote("still here")
    found = ray.get_actor("free")
    assert ray.get(found.get.remote()) == "still here"
    ray.kill(found)


def test_wrong_lifetime_is_refused(Named):
    with pytest.raises(ValueError, match="must be one of 'detached', 'non_detached' and 'None'"):
        Named.options(lifetime="eternal").remote()
