"""A value whose bytes make no sense is an error of whoever reads it, and nothing else.

A forger puts an array, writes what a seed says over its bytes in shared memory, and passes the ref
on. The driver reads it, and a worker. Lengths lie, counts lie, refs name nothing.

`SKATE_FUZZ_SEEDS=n` plays the seeds 1 to n.
"""

import gc
import os
import pickle
import random
import resource
import struct
import time

import pytest

pytestmark = pytest.mark.processes("bytes in shared memory")
np = pytest.importorskip("numpy")

SEEDS = int(os.environ.get("SKATE_FUZZ_SEEDS", "400"))
PATIENCE_S = 30
MEMORY_BYTES = 256 << 20
"""More than reading may cost, however long the value says that it is."""
SIZE = 8192
"""Of a forged value: too long to ride in a message."""

PLAIN, PICKLE, BYTES, ARRAY, ARGS, VIEW = 1, 2, 3, 4, 5, 6
INT, FLOAT, STR, TEXT, TUPLE, LIST, DICT, REF, STREAM = 3, 4, 5, 6, 7, 8, 9, 10, 11


class Liar:
    """Payloads that are nearly sound, and some that are not."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def length(self, sound):
        if self.rng.random() < 0.6:
            return sound
        return self.rng.choice([0, 1, 7, 63, SIZE - 64, SIZE, 1 << 20, 1 << 31, 1 << 62, 2**64 - 1])

    def u64(self, sound):
        return struct.pack("<Q", self.length(sound))

    def text(self):
        text = self.rng.choice([b"", b"key", b"\xff\xfe", "ü".encode(), self.rng.randbytes(9)])
        return self.u64(len(text)) + text

    def plain(self, depth=0):
        tag = self.rng.choice(
            [0, 1, 2, INT, FLOAT, STR, TEXT, REF, STREAM, self.rng.randrange(256)]
        )
        if depth < 3 or self.rng.random() < 0.3:
            tag = self.rng.choice([tag, TUPLE, LIST, DICT])
        if tag in {INT, FLOAT}:
            rest = self.rng.randbytes(8)
        elif tag in {STR, TEXT}:
            rest = self.text()
        elif tag in {TUPLE, LIST, DICT}:
            count = self.rng.randrange(4)
            items = (self.plain(depth + 1) for _ in range(count * (1 + (tag == DICT))))
            rest = self.u64(count) + b"".join(items)
        elif tag == REF:
            task = self.rng.choice([0, 1, 2, self.rng.getrandbits(40), self.rng.getrandbits(64)])
            rest = struct.pack("<QI", task, self.rng.choice([0, 1, 2**32 - 1]))
        elif tag == STREAM:
            rest = struct.pack("<Q", self.rng.choice([0, 1, self.rng.getrandbits(64)]))
        else:
            rest = b""
        return bytes([tag]) + rest

    def deep(self):
        one = bytes([self.rng.choice([TUPLE, LIST])]) + struct.pack("<Q", 1)
        return bytes([PLAIN]) + one * self.rng.choice([60, 70, 900])

    def array(self):
        formats = [
            b"d",
            b"O",
            b"i4,O",
            b"Zd",
            b"T",
            b"V8",
            b"(9,9)O",
            b"",
            b"\xff",
            b"U9",
            b"?",
            b"M8[s]",
        ]
        form = self.rng.choice(formats)
        shape = [
            self.rng.choice([0, 1, 3, 1 << 40, 2**63, 2**64 - 1])
            for _ in range(self.rng.randrange(4))
        ]
        shape = self.rng.choice([shape, [8], [2, 4], [1] * 200])
        head = bytes([ARRAY, self.rng.choice([len(form), len(form), 0, 255])]) + form
        head += bytes([self.rng.choice([len(shape), len(shape), 64, 255])])
        return head + b"".join(struct.pack("<Q", extent) for extent in shape) + self.u64(64)

    def pickled(self):
        data = pickle.dumps(pickle.PickleBuffer(b"12345678"), 5, buffer_callback=[].append)
        data = self.rng.choice(
            [data, data[: self.rng.randrange(len(data))], b"", b"\x80\x05" + b"(" * 500]
        )
        lengths = b"".join(self.u64(8) for _ in range(self.rng.randrange(3)))
        return bytes([PICKLE]) + self.u64(len(lengths) // 8) + lengths + self.u64(len(data)) + data

    def payload(self):
        way = self.rng.randrange(8)
        if way == 0:
            return self.rng.randbytes(self.rng.choice([1, 9, 200]))
        if way == 1:
            return bytes([self.rng.choice([BYTES, VIEW])]) + self.u64(100)
        if way == 2:
            return bytes([ARGS]) + self.u64(9) + self.plain()
        if way == 3:
            return self.deep()
        if way == 4:
            return self.array()
        if way == 5:
            return self.pickled()
        return bytes([PLAIN]) + self.plain()


def make_forger(skate):
    @skate.remote(num_cpus=0)
    class Forger:
        """Writes to values that are sealed, through the memory that it leases for others."""

        def __init__(self):
            import ctypes
            import mmap
            from pathlib import Path

            lines = Path("/proc/self/maps").read_text().splitlines()
            shared = [line.split() for line in lines if "skate-data" in line or "/#" in line]
            (self.read,) = (span(row[0]) for row in shared if row[1] == "r--s")
            (self.write,) = (span(row[0]) for row in shared if row[1] == "rw-s")
            self.move, self.page = ctypes.memmove, mmap.PAGESIZE

        def forge(self, payload):
            ref = skate.put(np.zeros(SIZE, dtype=np.uint8))
            start = skate.get(ref).ctypes.data - 64  # the array's head takes one line
            assert self.read.start <= start < self.read.stop
            self.move(self.write.start + start - self.read.start, payload, len(payload))
            return [ref]

    return Forger.remote()


def span(text):
    start, end = (int(part, 16) for part in text.split("-"))
    return range(start, end)


def outcome(skate, read):
    """What becomes of reading: anything but a process that ends or waits for ever."""
    try:
        value = read()
        if isinstance(value, skate.ObjectRef):
            value = skate.get(value, timeout=PATIENCE_S)
        elif isinstance(value, skate.ObjectRefGenerator):
            value = next(value)
        return type(value).__name__
    except skate.exceptions.GetTimeoutError:
        raise
    except Exception as error:
        return type(error).__name__


def is_settled(skate):
    gc.collect()
    now = skate.statistics()
    return now.tasks == now.objects == now.requests == now.pins == now.streams == 0


def test_is_an_error_in_the_driver_and_in_a_worker():
    import skate

    skate.shutdown()
    skate.init(num_cpus=1, object_store_memory=100 << 20)
    try:
        forger = make_forger(skate)
        look = skate.remote(max_retries=0)(lambda value: type(value).__name__)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcomes = {}
        for seed in range(1, SEEDS + 1):
            [ref] = skate.get(forger.forge.remote(Liar(seed).payload()), timeout=PATIENCE_S)
            mine = outcome(skate, lambda ref=ref: skate.get(ref, timeout=PATIENCE_S))
            theirs = outcome(skate, lambda ref=ref: skate.get(look.remote(ref), timeout=PATIENCE_S))
            assert "WorkerCrashedError" not in {mine, theirs}
            outcomes[mine, theirs] = outcomes.get((mine, theirs), 0) + 1
            del ref
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        assert grown < MEMORY_BYTES
        print(outcomes)
        assert skate.get(look.remote(7), timeout=PATIENCE_S) == "int"
        del forger
        deadline = time.monotonic() + PATIENCE_S
        while not is_settled(skate) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert is_settled(skate), dict(skate.statistics())
    finally:
        skate.shutdown()
