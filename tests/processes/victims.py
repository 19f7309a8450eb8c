"""A program that does a little of everything, whose processes are killed while it runs.

It knows what a sequential run of itself gives, and asserts that after each round. It gives permits
to kill, which are files, two at a time: three workers in a row that die before their first task
would end it, as they should. When all are used it does one more round with who is left, and waits
until the node is at rest; whoever removes the last permit, a kill point or a test, ends it well.
"""

import signal

PROGRAM = '''
import re
import numpy

MEGABYTE = 1 << 20
LATER, PERMITS = os.environ["LATER"], os.environ["PERMITS"]

def permit():
    """Whether there is something left to kill."""
    for name in sorted(os.listdir(LATER))[: 2 - len(os.listdir(PERMITS))]:
        os.rename(f"{LATER}/{name}", f"{PERMITS}/{name}")
    return bool(os.listdir(PERMITS))

permit()
skate.init(num_cpus=2, object_store_memory=75 * MEGABYTE)

def of_8_mb(k):
    return numpy.full(8 * MEGABYTE, k, dtype=numpy.uint8)

@skate.remote(max_retries=-1)
def items(count):
    for k in range(count):
        yield numpy.full(1 << 15, k)

@skate.remote(max_retries=-1)
def total(array):
    kept = skate.put(array)
    return int(array.sum() + skate.get(kept)[0])

@skate.remote(max_retries=-1)
def numbers(count):
    for k in range(count):
        yield k

@skate.remote(max_retries=0)
def take(stream):
    return [skate.get(ref) for ref in stream]

@skate.remote(max_retries=-1)
def endless():
    while True:
        yield bytes(9000)

@skate.remote(max_retries=-1)
def fill(count):
    refs, views = [], []
    for k in range(count):
        refs.append(skate.put(of_8_mb(k)))
        views.append(skate.get(refs[-1]))  # it cannot be moved, and there is no room for all
    return refs, [int(view[-1]) for view in views]

@skate.remote(max_retries=-1)
def outer(blob):
    @skate.remote(max_retries=-1)
    def inner():
        return len(blob)
    return skate.get(inner.remote())

@skate.remote(max_restarts=-1, max_task_retries=-1)
class Adder:
    def add(self, a, b):
        return a + b

    def upto(self, count):
        yield from range(count)

@skate.remote(max_restarts=-1, max_task_retries=-1)
class Later:
    async def add(self, refs):
        return await refs[0] + 1

def stream_and_actors():
    """Items in order, each once, and calls of actors, from one producer to many readers."""
    stream = items.options(generator_backpressure_num_objects=2).remote(6)
    adder, *_ = adders = [Adder.remote() for _ in range(2)]
    refs = [total.remote(ref) for ref in stream]
    assert skate.get(refs) == [(k << 15) + k for k in range(6)]
    assert skate.get([adder.add.remote(k, 1) for k in range(5)]) == [1, 2, 3, 4, 5]
    assert skate.get([each.add.remote(1, 1) for each in adders]) == [2, 2]
    assert [skate.get(ref) for ref in adder.upto.remote(5)] == [0, 1, 2, 3, 4]
    late = numbers.options(num_returns=1).remote(1)
    assert skate.get(Later.remote().add.remote([late])) == 1

def two_readers():
    """What one stream gives to two readers: each item to one of them. A reader that dies has taken
    what its error says, and no more: what it was given besides is in the stream again."""
    stream = numbers.options(generator_backpressure_num_objects=3).remote(30)
    readers = [take.remote(stream) for _ in range(2)]
    seen, lost = [], 0
    for reader in readers:
        try:
            seen += skate.get(reader)
        except skate.exceptions.WorkerCrashedError as error:
            lost += int((re.search(r"consumed (\\d+) items", str(error)) or [0, 0])[1])
    seen += [skate.get(ref) for ref in stream]
    assert sorted(set(seen)) == sorted(seen), seen
    assert len(seen) + lost == 30, (seen, lost)

def cancelled():
    """What was stored before a cancel is there, then the error, then the end."""
    stream = endless.remote()
    first = [len(skate.get(next(stream))) for _ in range(3)]
    skate.cancel(stream)
    queued = [numbers.options(num_returns=1).remote(1) for _ in range(8)]
    for ref in queued:
        skate.cancel(ref)
    rest = 0
    try:
        for ref in stream:
            rest += len(skate.get(ref)) // 9000
        raise AssertionError("a cancelled stream has ended well")
    except skate.exceptions.TaskCancelledError:
        assert list(stream) == []
    assert first == [9000] * 3
    for ref in queued:
        try:
            assert skate.get(ref) == 0
        except skate.exceptions.TaskCancelledError:
            pass
    closed = endless.options(generator_backpressure_num_objects=4).remote()
    next(closed)
    closed.close()

def more_than_fits():
    """Values that go to disk and come back, of the driver and of a task."""
    own = [skate.put(of_8_mb(100 + k)) for k in range(7)]
    views = skate.get(own)
    refs, ends = skate.get(fill.remote(6))
    assert ends == list(range(6))
    assert [int(skate.get(ref)[0]) for ref in refs] == list(range(6))
    assert [int(view[0]) for view in views] == [100 + k for k in range(7)]
    del views
    own += [skate.put(of_8_mb(107 + k)) for k in range(7)]
    assert [int(skate.get(ref)[0]) for ref in own] == list(range(100, 114))

def long_messages():
    """A function that is larger than a ring, on its way to the node and from there to a worker."""
    blob = os.urandom(600_000)
    assert skate.get(outer.remote(blob)) == len(blob)

def work():
    stream_and_actors()
    two_readers()
    cancelled()
    more_than_fits()
    long_messages()

def is_at_rest():
    now = skate.statistics()
    held = (now.tasks, now.objects, now.streams, now.requests, now.driver_handles, now.pins)
    return not any(held)

work()
print("ready", flush=True)
os.read(0, 1)
rounds = 0
while permit() and rounds < int(os.environ["ROUNDS"]):
    work()
    rounds += 1
work()
deadline = time.monotonic() + 15
while not is_at_rest():
    assert time.monotonic() < deadline, skate.statistics()
    time.sleep(0.002)
skate.shutdown()
print("done", flush=True)
'''


class Victims:
    """The program, and the permits to kill its processes: so many, for so many rounds at most."""

    def __init__(self, start, directory, *, kills, rounds, **options):
        self._later, self._permits = directory / "later", directory / "permits"
        self._kills = kills
        self._permits.mkdir()
        self._later.mkdir()
        for number in range(kills):
            (self._later / f"{number:02}").touch()
        environment = options.pop("environment", {})
        environment |= {"LATER": str(self._later), "PERMITS": str(self._permits)}
        environment |= {"ROUNDS": str(rounds)}
        self.program = start(PROGRAM, environment=environment, **options)

    @staticmethod
    def permit(directory, number):
        """Where that permit is once it has been given."""
        return directory / "permits" / f"{number:02}"

    def killed(self):
        return self._kills - len([*self._later.iterdir(), *self._permits.iterdir()])

    def check_end(self, timeout, *, is_driver):
        """The program ends well, unless it is the driver that was killed; nothing is left of it."""
        code, out, err = self.program.finish(timeout)
        if is_driver and self.killed():
            assert code == -signal.SIGKILL, f"exit code {code}\n{out}\n{err}"
        else:
            assert code == 0, f"exit code {code}\n{out}\n{err}"
            assert out.endswith("done\n")
        self.program.check_nothing_is_left()
