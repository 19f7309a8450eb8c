"""Where values are spilled to, who says so, and what if it does not do."""

import json
import os
import subprocess
import sys

import pytest

MB = 1_000_000
STORE = 80 * MB


def fill(skate, count=16):
    """Puts twice what the store holds, and reads all of it."""
    refs = [skate.put(bytes([k]) * (10 * MB)) for k in range(count)]
    assert [skate.get(ref)[0] for ref in refs] == list(range(count))
    return refs


def test_missing_directory_is_made(fresh, tmp_path, spill_file):
    directory = tmp_path / "not" / "there"
    fresh.init(object_store_memory=STORE, object_spilling_directory=str(directory))
    fill(fresh)
    with spill_file(directory) as file:
        assert os.fstat(file.fileno()).st_nlink == 0
    assert os.listdir(directory) == []


def test_directory_that_cannot_be_made_is_named(fresh, tmp_path):
    (tmp_path / "file").touch()
    path = str(tmp_path / "file" / "below")
    with pytest.raises(ValueError, match=r"values cannot be spilled to .*below: Not a directory"):
        fresh.init(object_store_memory=STORE, object_spilling_directory=path)
    assert not fresh.is_initialized()


def test_read_only_directory_is_named(fresh, mounts):
    path = mounts(10 * MB, "ro")
    with pytest.raises(ValueError, match=r"values cannot be spilled to .*Read-only"):
        fresh.init(object_store_memory=STORE, object_spilling_directory=str(path))


def test_directory_removed_while_running_changes_nothing(fresh, directory):
    fresh.init(object_store_memory=STORE, object_spilling_directory=str(directory))
    directory.rmdir()
    fill(fresh)


@pytest.mark.parametrize("name", ["SKATE_SPILL_DIR", "RAY_object_spilling_directory"])
def test_environment_names_it(fresh, directory, spill_file, monkeypatch, name):
    monkeypatch.setenv(name, str(directory))
    fresh.init(object_store_memory=STORE)
    spill_file(directory).close()


@pytest.mark.parametrize("paths", ["{}", ["{}", "/elsewhere"]])
def test_object_spilling_config_of_ray_names_it(fresh, directory, spill_file, paths):
    def filled(path):
        return path.format(directory)

    paths = filled(paths) if isinstance(paths, str) else [filled(path) for path in paths]
    config = {"type": "filesystem", "params": {"directory_path": paths}}
    fresh.init(
        object_store_memory=STORE, _system_config={"object_spilling_config": json.dumps(config)}
    )
    spill_file(directory).close()


def test_other_storage_of_ray_is_refused(fresh):
    config = {"type": "smart_open", "params": {"uri": "s3://bucket"}}
    with pytest.raises(ValueError, match=r"'smart_open'.*use 'filesystem'"):
        fresh.init(_system_config={"object_spilling_config": json.dumps(config)})


def test_unknown_key_of_system_config_is_refused(fresh):
    with pytest.raises(ValueError, match="_system_config: gcs_rpc"):
        fresh.init(_system_config={"gcs_rpc": 1})


def test_directory_in_memory_is_used_when_it_is_named(fresh, mounts, spill_file):
    path = mounts(400 * MB)
    fresh.init(object_store_memory=STORE, object_spilling_directory=str(path))
    fill(fresh)
    spill_file(path).close()


def test_without_a_directory_on_disk_the_first_spill_says_so(mounts):
    """TMPDIR is in memory, and the usual directories are not there."""
    program = f"""
import skate
from skate import _spilling
_spilling.USUAL = ("/not/there",)
skate.init(object_store_memory={STORE})
keep = skate.put(bytes(50 * {MB}))
try:
    skate.put(bytes(50 * {MB}))
except skate.exceptions.ObjectStoreFullError as error:
    print(error)
"""
    environment = {**os.environ, "TMPDIR": str(mounts(10 * MB))}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    told = "there is no directory to spill values to"
    assert told in done.stdout
    assert "it is in memory, where nothing would be gained; /not/there: No such file" in done.stdout
    assert done.stderr.count(told) == 1
    assert "SKATE_SPILL_DIR" in done.stderr


def test_switched_off_it_is_as_if_there_were_no_disk(fresh, monkeypatch):
    monkeypatch.setenv("RAY_automatic_object_spilling_enabled", "0")
    fresh.init(object_store_memory=STORE)
    keep = fresh.put(bytes(50 * MB))
    with pytest.raises(fresh.exceptions.ObjectStoreFullError, match="switched off"):
        fresh.put(bytes(50 * MB))
    assert len(fresh.get(keep)) == 50 * MB


def test_limit_is_kept_and_named(fresh, directory):
    fresh.init(
        object_store_memory=STORE,
        object_spilling_directory=str(directory),
        object_spilling_limit=50 * MB,
    )
    refs = []
    with pytest.raises(fresh.exceptions.OutOfDiskError, match="limit of 5") as caught:
        for k in range(20):
            refs.append(fresh.put(bytes([k]) * (10 * MB)))
    assert len(refs) >= 11
    assert "10000" in str(caught.value)
    assert fresh.statistics().disk_bytes <= 50 * MB
    assert [fresh.get(ref)[0] for ref in refs] == list(range(len(refs)))
    # There is room again when something goes.
    refs = refs[6:]
    refs.append(fresh.put(bytes([99]) * (10 * MB)))
    assert fresh.get(refs[-1])[0] == 99


def test_full_disk_is_an_error_and_loses_nothing(fresh, mounts, at_rest):
    path = mounts(60 * MB)
    fresh.init(
        object_store_memory=STORE,
        object_spilling_directory=str(path),
        _system_config={"local_fs_capacity_threshold": 1},
    )
    refs = []
    with pytest.raises(fresh.exceptions.OutOfDiskError, match=r"No space left|is full"):
        for k in range(20):
            refs.append(fresh.put(bytes([k]) * (10 * MB)))
    assert len(refs) >= 11
    assert [fresh.get(ref)[0] for ref in refs] == list(range(len(refs)))
    del refs
    statistics = at_rest(fresh)
    assert statistics.disk_bytes == statistics.used_bytes == 0
    fill(fresh, 10)


def test_last_part_of_the_disk_is_left_to_others(fresh, mounts):
    path = mounts(100 * MB)
    fresh.init(
        object_store_memory=STORE,
        object_spilling_directory=str(path),
        _system_config={"local_fs_capacity_threshold": 0.5},
    )
    refs = []
    with pytest.raises(fresh.exceptions.OutOfDiskError, match="kept for others"):
        for k in range(20):
            refs.append(fresh.put(bytes([k]) * (10 * MB)))
    statistics = os.statvfs(path)
    assert statistics.f_bavail * 2 >= statistics.f_blocks * 0.99


def test_task_waits_for_a_full_disk_to_have_room(fresh, directory, gate):
    """It fails only when nobody could make any: here another task can."""
    fresh.init(
        num_cpus=2,
        object_store_memory=STORE,
        object_spilling_directory=str(directory),
        object_spilling_limit=0,
    )

    @fresh.remote
    def hold(_value):
        gate.read_bytes()

    @fresh.remote
    def make():
        return bytes(50 * MB)

    held = hold.remote(fresh.put(bytes(50 * MB)))
    made = make.remote()
    gate.write_bytes(b"")
    assert len(fresh.get(made)) == 50 * MB
    fresh.get(held)


@pytest.mark.parametrize("limit", [-1, -(10**12)])
def test_limit_below_zero_is_refused(fresh, limit):
    with pytest.raises(ValueError, match=f"object_spilling_limit is {limit}, but must be from 0"):
        fresh.init(object_spilling_limit=limit)
