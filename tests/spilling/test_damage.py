"""A spill file that somebody else has changed: a named error, never another value."""

import os
import pickle
import random

import pytest

MB = 1_000_000


def spill_all_but_the_last(skate, count=16):
    return [skate.put(bytes([k]) * (10 * MB)) for k in range(count)]


def outcomes(skate, refs):
    """What each ref gives: its first byte if the value is right, or the error."""
    found = []
    for k, ref in enumerate(refs):
        try:
            value = skate.get(ref)
        except skate.exceptions.ObjectLostError as error:
            found.append(error)
        else:
            assert value == bytes([k]) * (10 * MB)
            found.append(k)
    return found


def test_changed_byte_is_found(small, directory, spill_file):
    refs = spill_all_but_the_last(small)
    with spill_file(directory) as file:
        size = os.fstat(file.fileno()).st_size
        chance = random.Random(1)
        for _ in range(5):
            os.pwrite(file.fileno(), b"\xff", chance.randrange(size))
    found = outcomes(small, refs)
    errors = [error for error in found if isinstance(error, Exception)]
    assert 1 <= len(errors) <= 5
    for error in errors:
        assert type(error) is small.exceptions.ObjectCorruptedError
        assert "checksum" in str(error)
    lost = next(k for k, error in enumerate(found) if isinstance(error, Exception))
    assert refs[lost].hex() in str(found[lost])


def test_truncated_file_is_found(small, directory, spill_file):
    refs = spill_all_but_the_last(small)
    with spill_file(directory) as file:
        os.truncate(file.fileno(), 15 * MB)
    found = outcomes(small, refs)
    assert 0 in found
    errors = [error for error in found if isinstance(error, Exception)]
    assert len(errors) >= 5
    # What was written behind the cut since makes a hole of it.
    assert all("truncated" in str(error) or "changed" in str(error) for error in errors)


def test_lost_value_stays_lost_and_the_rest_goes_on(small, directory, spill_file, at_rest):
    refs = spill_all_but_the_last(small)
    with spill_file(directory) as file:
        os.truncate(file.fileno(), 0)
    lost = refs[0]
    for _ in range(2):
        with pytest.raises(small.exceptions.ObjectCorruptedError):
            small.get(lost)
    with pytest.raises(small.exceptions.ObjectCorruptedError):
        small.get([refs[-1], lost])
    assert small.get(refs[-1])[0] == 15
    assert small.get(small.put(b"z" * (10 * MB)))[0] == ord("z")
    del refs, lost
    statistics = at_rest(small)
    assert statistics.objects == statistics.disk_bytes == statistics.used_bytes == 0


def test_task_whose_argument_is_lost_fails_with_that_error(small, directory, spill_file):
    @small.remote(max_retries=0)
    def first(value):
        return value[0]

    refs = spill_all_but_the_last(small)
    with spill_file(directory) as file:
        os.truncate(file.fileno(), 0)
    with pytest.raises(small.exceptions.ObjectCorruptedError):
        small.get(first.remote(refs[0]))
    assert small.get(first.remote(refs[-1])) == 15


def test_reader_with_memory_of_its_own_checks_too(small, directory, spill_file):
    refs = spill_all_but_the_last(small, 4)
    views = [small.get(small.put(memoryview(bytes(10 * MB)))) for _ in range(7)]
    with spill_file(directory) as file:
        os.truncate(file.fileno(), 5 * MB)
    found = outcomes(small, refs)
    assert any(isinstance(error, small.exceptions.ObjectCorruptedError) for error in found)
    del views


def test_error_survives_pickling(small):
    error = small.exceptions.ObjectCorruptedError("ab" * 28, "it was truncated")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.object_ref_hex, again.reason) == (
        str(error),
        "ab" * 28,
        "it was truncated",
    )
    assert isinstance(again, small.exceptions.ObjectLostError)
