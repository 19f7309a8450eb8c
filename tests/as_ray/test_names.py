"""The table of Ray's names tells the truth."""

import importlib
from pathlib import Path

import pytest

from skate import _ray_names
from skate._ray_names import MISSING, MODULES, TABLE, resolve, row, treatment_of

# `__all__` of ray and ray.util, the classes of ray.exceptions, and what else its documentation of
# the core names; taken from Ray 2.60.0.
PUBLIC = (Path(__file__).parent / "ray_2_60_names.txt").read_text().split()


def test_what_is_not_missing_is_there():
    for name, (treatment, _) in TABLE.items():
        if treatment != MISSING:
            resolve(name)


def test_what_is_missing_is_not_there():
    for name, (treatment, note) in TABLE.items():
        if treatment == MISSING:
            assert note, name
            with pytest.raises((AttributeError, ImportError)):
                resolve(name)


def test_every_module_of_the_finder_can_be_imported():
    for name, module in MODULES.items():
        assert importlib.import_module(module), name
        assert treatment_of(name)[0] != MISSING or name == "ray"


def test_every_public_name_of_rays_core_has_a_row():
    assert len(PUBLIC) > 100
    assert [name for name in PUBLIC if row(name)[0] == "ray"] == []


def test_every_exception_of_ray_is_one_of_skates():
    for name in PUBLIC:
        if name.startswith("ray.exceptions."):
            assert issubclass(resolve(name), Exception), name


def test_the_list_is_rays_own_where_ray_is_installed():
    """Where Ray is, the recorded list is compared with it."""
    ray = pytest.importorskip("ray", reason="Ray is not installed here")
    if not hasattr(ray, "__all__") or not hasattr(ray, "__version__"):
        pytest.skip("Ray is not installed here")  # a directory of that name
    if ray.__version__ == _ray_names.RAY_VERSION:
        assert {f"ray.{name}" for name in ray.__all__ if name[0] != "_"} <= {*PUBLIC}


def test_a_missing_name_says_the_nearest_way_in_skate_itself():
    import skate

    with pytest.raises(
        AttributeError, match=r"skate has no ray\.java_function: .*use `subprocess` in a task"
    ):
        _ = skate.java_function
    with pytest.raises(AttributeError, match="module 'skate' has no attribute 'nosuch'"):
        _ = skate.nosuch
    with pytest.raises(AttributeError, match=r"skate has no ray\.util\.collective"):
        _ = skate.util.collective
