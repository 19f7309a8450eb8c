"""A10, A11: every way to fail, in every mode: what was yielded stays, then one error, the end."""

import os
import signal
import threading

import pytest

MODES = ["static", "dynamic", "streaming"]
BEFORE = 2  # items before the failure
PROMISED = 4


def start(skate, mode, function, *args, **options):
    num_returns = PROMISED if mode == "static" else mode
    return skate.remote(num_returns=num_returns, max_retries=0, **options)(function).remote(*args)


def refs_of(skate, mode, result):
    """All refs, in order; the stream has ended, for ever."""
    if mode == "static":
        return result
    stream = skate.get(result) if mode == "dynamic" else result
    refs = list(stream)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(stream)
    if mode == "dynamic":
        assert len(skate.get(result)) == len(refs)
    return refs


def check(skate, mode, result, error, match):
    refs = refs_of(skate, mode, result)
    assert len(refs) == (PROMISED if mode == "static" else BEFORE + 1)
    assert skate.get(refs[:BEFORE]) == list(range(BEFORE))
    for ref in refs[BEFORE:]:
        with pytest.raises(error, match=match):
            skate.get(ref)


def two_then(fail):
    def items(*args):
        for k in range(BEFORE):
            yield k
        yield fail(*args)

    return items


class Unpicklable(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


def raise_value_error():
    raise ValueError("of the application")


def raise_unpicklable():
    raise Unpicklable("with a lock")


@pytest.mark.parametrize("mode", MODES)
def test_application_error(skate, mode):
    result = start(skate, mode, two_then(raise_value_error))
    check(skate, mode, result, ValueError, "of the application")


@pytest.mark.parametrize("mode", MODES)
def test_unpicklable_item(skate, mode):
    result = start(skate, mode, two_then(threading.Lock))
    check(skate, mode, result, TypeError, r"Could not serialize item 2 of items: .*lock")


@pytest.mark.parametrize("mode", MODES)
def test_unpicklable_item_lets_the_body_clean_up(skate, mode, tmp_path):
    log = tmp_path / "log"

    def items():
        try:
            yield from range(BEFORE)
            yield threading.Lock()
        finally:
            log.write_text("clean")

    check(skate, mode, start(skate, mode, items), TypeError, "Could not serialize item 2")
    assert log.read_text() == "clean"


@pytest.mark.parametrize("mode", MODES)
def test_unpicklable_exception(skate, mode):
    result = start(skate, mode, two_then(raise_unpicklable))
    check(skate, mode, result, skate.exceptions.RayTaskError, "with a lock")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", [lambda: os._exit(1), lambda: os.kill(os.getpid(), signal.SIGKILL)])
@pytest.mark.processes("its process is killed")
def test_crash(skate, mode, how):
    result = start(skate, mode, two_then(how))
    check(skate, mode, result, skate.exceptions.WorkerCrashedError, "items")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.processes("there is no store")
def test_no_memory_for_an_item(skate, mode):
    def too_much():
        import skate

        return skate.empty(1 << 50, "uint8")

    result = start(skate, mode, two_then(too_much))
    check(skate, mode, result, skate.exceptions.ObjectStoreFullError, "1125899906842")


@pytest.mark.parametrize("mode", MODES)
def test_failed_argument(skate, mode):
    @skate.remote
    def fail():
        raise KeyError("source")

    def items(value):
        yield value

    refs = refs_of(skate, mode, start(skate, mode, items, fail.remote()))
    assert len(refs) == (PROMISED if mode == "static" else 1)
    for ref in refs:
        with pytest.raises(KeyError, match="source"):
            skate.get(ref)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("force", [False, True])
def test_cancel(skate, mode, force, gates):
    reached, never = gates("reached"), gates("never")

    def items():
        for k in range(BEFORE):
            yield k
        reached.write_bytes(b"")
        never.read_bytes()
        yield "never"

    result = start(skate, mode, items)
    reached.read_bytes()
    skate.cancel(result[-1] if mode == "static" else result, force=force)
    check(skate, mode, result, skate.exceptions.TaskCancelledError, "was cancelled")


@pytest.mark.parametrize("mode", MODES)
def test_cancel_before_the_start(skate, mode, gates):
    hold = gates("hold")

    @skate.remote
    def wait():
        return hold.read_bytes()

    def items(_argument):
        yield 1

    argument = wait.remote()
    result = start(skate, mode, items, argument)
    skate.cancel(result[0] if mode == "static" else result)
    refs = refs_of(skate, mode, result)
    assert len(refs) == (PROMISED if mode == "static" else 1)
    for ref in refs:
        with pytest.raises(skate.exceptions.TaskCancelledError):
            skate.get(ref)
    hold.write_bytes(b"")
    skate.get(argument)


@pytest.mark.parametrize("how", ["crash", "exception"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.processes("its process ends")
def test_retry_goes_on_at_the_next_index(skate, mode, how, attempts):
    """Each index once for the reader and for dependents; as many attempts as it takes."""

    def items():
        with attempts.open("ab") as log:
            log.write(b"x")
        attempt = attempts.stat().st_size
        for k in range(PROMISED):
            if attempt <= 2 and k == attempt:
                if how == "crash":
                    os._exit(1)
                raise ValueError("again")
            yield (k, os.getpid())

    @skate.remote
    def double(pair):
        return 2 * pair[0]

    num_returns = PROMISED if mode == "static" else mode
    remote = skate.remote(
        num_returns=num_returns, max_retries=4, retry_exceptions=how == "exception"
    )(items)
    refs = refs_of(skate, mode, remote.remote())
    doubled = [double.remote(ref) for ref in refs]
    assert [k for k, _ in skate.get(refs)] == list(range(PROMISED))
    assert skate.get(doubled) == [2 * k for k in range(PROMISED)]
    assert attempts.stat().st_size == 3


@pytest.mark.parametrize("how", ["crash", "exception"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.processes("its process ends")
def test_retries_are_counted_exactly(skate, mode, how, attempts):
    def items():
        with attempts.open("ab") as log:
            log.write(b"x")
        yield 0
        yield 1
        if how == "crash":
            os._exit(1)
        raise ValueError("always")

    num_returns = PROMISED if mode == "static" else mode
    remote = skate.remote(
        num_returns=num_returns, max_retries=2, retry_exceptions=how == "exception"
    )(items)
    expected = skate.exceptions.WorkerCrashedError if how == "crash" else ValueError
    check(skate, mode, remote.remote(), expected, None)
    assert attempts.stat().st_size == 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.processes("its process ends")
def test_shorter_replay_is_an_error_of_its_own(skate, mode, attempts):
    def items():
        with attempts.open("ab") as log:
            log.write(b"x")
        yield 0
        if attempts.stat().st_size > 1:
            return
        yield 1
        os._exit(1)

    num_returns = PROMISED if mode == "static" else mode
    result = skate.remote(num_returns=num_returns, max_retries=3)(items).remote()
    error = skate.exceptions.StreamingGeneratorReplayInconsistentError
    check(skate, mode, result, error, "yielded 1 items when it was run again, but 2")
    assert attempts.stat().st_size == 2


@pytest.mark.parametrize("how", ["crash", "exception"])
@pytest.mark.processes("its process ends")
def test_reader_inside_of_a_task_sees_each_index_once(skate, how, attempts):
    """Stream passed on before the crash, read to its end while the producer dies twice."""

    @skate.remote(max_retries=5, retry_exceptions=how == "exception")
    def items():
        with attempts.open("ab") as log:
            log.write(b"x")
        attempt = attempts.stat().st_size
        for k in range(100):
            if attempt <= 2 and k == 30 * attempt:
                if how == "crash":
                    os._exit(1)
                raise ValueError("again")
            yield k

    @skate.remote
    def read(stream):
        return [skate.get(ref) for ref in stream]

    assert skate.get(read.remote(items.remote())) == list(range(100))
    assert attempts.stat().st_size == 3


def test_error_inside_of_a_chain_arrives_at_its_end(skate):
    @skate.remote
    def source():
        yield 1
        raise ValueError("at the source")

    @skate.remote
    def double(stream):
        for ref in stream:
            yield 2 * skate.get(ref)

    good, bad = list(double.remote(double.remote(source.remote())))
    assert skate.get(good) == 4
    with pytest.raises(ValueError, match="at the source"):
        skate.get(bad)
