"""Few descriptors, little memory: a clear error or patience, and the session goes on."""

import pytest

FEW = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
"""


@pytest.mark.parametrize("limit", [64, 40])
def test_few_descriptors_are_enough_for_a_session(run, limit):
    out, _ = run(
        FEW.format(limit=limit)
        + """
skate.init(num_cpus=2)
double = skate.remote(lambda x: 2 * x)

@skate.remote
def items():
    yield from range(100)

for _ in range(5):
    assert skate.get([double.remote(k) for k in range(200)]) == [2 * k for k in range(200)]
    assert len([skate.get(ref) for ref in items.remote()]) == 100
print(len(os.listdir("/proc/self/fd")))
"""
    )
    assert int(out) < 40


def test_more_workers_than_descriptors_fail_or_wait_but_do_not_hang(run):
    out, _ = run(
        FEW.format(limit=64)
        + """
skate.init(num_cpus=2)

@skate.remote(num_cpus=0.01)
def deep(n):
    return skate.get(deep.remote(n - 1)) + 1 if n else 0

try:
    print(skate.get(deep.remote(40), timeout=30))
except skate.exceptions.RayError as error:
    print("error", " ".join(str(error).split())[-300:])
print(skate.get(skate.remote(lambda: "usable").remote(), timeout=30))
""",
        timeout=60,
    )
    first, last = out.splitlines()
    assert last == "usable"
    assert first == "40" or "Too many open files" in first or "descriptor" in first


@pytest.mark.parametrize("limit", [3, 8, 12, 16, 20])
def test_init_without_descriptors_says_so(run, limit):
    out, _ = run(
        FEW.format(limit=64)
        + f"""
# What init itself imports.
import _socket, skate._launch, skate._machine, skate._standard, skate._context
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, 64))
try:
    skate.init(num_cpus=1)
    print(skate.get(skate.remote(lambda: 1).remote(), timeout=20))
except (skate.exceptions.RayError, OSError) as error:
    text = " ".join(str(error).split())
    print("open files" in text or "descriptor" in text, text)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
skate.shutdown()
print(skate.get(skate.remote(lambda: 2).remote(), timeout=20))
"""
    )
    first, last = out.splitlines()
    assert last == "2"
    assert first == "1" or first.startswith("True"), first


def test_value_larger_than_store_and_disk_is_refused_with_numbers(run):
    out, _ = run("""
        import numpy as np
        skate.init(num_cpus=1, object_store_memory=80 << 20, object_spilling_limit=80 << 20)
        make = skate.remote(lambda n: np.zeros(n))
        attempts = (lambda n: skate.put(np.zeros(n))), (lambda n: skate.get(make.remote(n)))
        for attempt in attempts:
            try:
                attempt(12 << 20)
            except skate.exceptions.ObjectStoreFullError as error:
                print(" ".join(str(error).split()))
        small = skate.get(make.remote(1 << 20)), skate.get(skate.put(np.zeros(1 << 20)))
        print(*(array.nbytes for array in small))
    """)
    first, second, last = out.splitlines()
    for text in (first, second):
        assert str(80 << 20) in text.replace(",", "").replace("_", "")
        assert str((12 << 20) * 8)[:5] in text.replace(",", "").replace("_", "")
    assert last == "8388608 8388608"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("object_store_memory", 1000),
        ("object_store_memory", -1),
        ("num_cpus", -1),
        ("num_gpus", "a"),
    ],
)
def test_init_names_the_argument_that_is_wrong(fresh, argument, value):
    with pytest.raises((ValueError, TypeError), match=argument.replace("_", ".")):
        fresh.init(**{argument: value})
    fresh.init(num_cpus=1)
    assert fresh.get(fresh.remote(lambda: 1).remote()) == 1


def test_address_space_that_is_too_small_says_so(run):
    out, _ = run("""
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        try:
            skate.init(num_cpus=1, object_store_memory=4 << 30)
        except skate.exceptions.RaySystemError as error:
            print(error)
        skate.init(num_cpus=1, object_store_memory=80 << 20)
        print(skate.get(skate.remote(lambda: 2).remote(), timeout=20))
    """)
    first, *_, last = out.splitlines()
    assert "memory" in first
    assert str(4 << 30) in first
    assert last == "2"


def test_session_goes_on_after_workers_for_which_there_was_no_descriptor(run):
    out, _ = run(
        """
        import resource
        skate.init(num_cpus=2)
        plain = skate.remote(lambda: "plain")

        @skate.remote(num_cpus=0, max_retries=0)
        def more():
            time.sleep(0.5)  # so that two workers are not enough
            return "more"

        skate.get(plain.remote())
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = 1 + max(int(fd) for fd in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
        held = []
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            pass
        refs = [more.remote() for _ in range(8)]
        skate.wait(refs, num_returns=8, timeout=30)
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

        def outcome(ref):
            try:
                return skate.get(ref, timeout=30)
            except skate.exceptions.WorkerCrashedError as error:
                return "descriptors" if "open files" in str(error) else str(error)

        print(sorted({outcome(ref) for ref in refs} - {"more"}))
        print(skate.get([plain.remote(), more.remote()], timeout=30))
        """
    )
    assert out.splitlines() == ["['descriptors']", "['plain', 'more']"]


@pytest.mark.parametrize("kind", ["bytes", "spilled"])
def test_value_for_which_there_is_no_memory_is_a_memory_error(run, kind):
    """A panic, for bytes; for what was spilled the whole program was aborted."""
    out, _ = run(
        f"""
        import resource
        import numpy as np

        small = {kind!r} == "spilled"
        skate.init(num_cpus=1, object_store_memory=80_000_000 if small else 400_000_000)
        ref = skate.put(np.ones(200_000_000, "u1") if small else b"x" * 200_000_000)
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        for limit in (used + 100_000_000, resource.RLIM_INFINITY):
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            try:
                assert len(skate.get(ref)) == 200_000_000
            except MemoryError:
                print("MemoryError")
        """
    )
    assert out == "MemoryError\n"
