"""The floor of tasks and items: two plain Python processes and two pipes between them.

    driver ── 4 bytes of length, one pickled call ... ─▶ worker
           ◀─ 4 bytes of length, one pickled result ... ──

Invariant: nothing but what any engine must do: name the function, pickle the call and the result,
one message each, written in batches when more than one is due.
"""

import contextlib
import os
import pickle
import struct
import time

_LENGTH = struct.Struct("<I")
_BATCH_BYTES = 32 << 10  # half of a pipe


def fork(child, *args):
    """Runs `child(*args)` in a forked process; gives its pid."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            child(*args)
        os._exit(0)
    return pid


class Messages:
    """Messages through one pipe, batched."""

    def __init__(self, fd):
        self._fd = fd
        self._out = []
        self._out_bytes = 0
        self._in = b""
        self._at = 0

    def send(self, value):
        """Adds one message; writes when a batch is full."""
        data = pickle.dumps(value, 5)
        self._out.append(_LENGTH.pack(len(data)))
        self._out.append(data)
        self._out_bytes += len(data) + 4
        if self._out_bytes >= _BATCH_BYTES:
            self.flush()

    def flush(self):
        """Writes what has been added."""
        rest = memoryview(b"".join(self._out))
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._out, self._out_bytes = [], 0

    def _need(self, size):
        while len(self._in) - self._at < size:
            more = os.read(self._fd, 1 << 16)
            if not more:
                raise EOFError
            self._in = self._in[self._at :] + more
            self._at = 0

    def receive(self):
        """The next message."""
        self._need(4)
        (size,) = _LENGTH.unpack_from(self._in, self._at)
        self._need(4 + size)
        start = self._at + 4
        self._at = start + size
        return pickle.loads(memoryview(self._in)[start : start + size])

    @property
    def has_more(self):
        """Whether the next message is here already."""
        return self._at < len(self._in)


class Worker:
    """One forked worker that knows its functions by name."""

    def __init__(self, functions):
        to_worker, from_worker = os.pipe(), os.pipe()
        self._pid = fork(self._serve, functions, to_worker, from_worker)
        os.close(to_worker[0])
        os.close(from_worker[1])
        self.calls, self.results = Messages(to_worker[1]), Messages(from_worker[0])

    @staticmethod
    def _serve(functions, to_worker, from_worker):
        os.close(to_worker[1])
        os.close(from_worker[0])
        calls, results = Messages(to_worker[0]), Messages(from_worker[1])
        while True:
            if not calls.has_more:
                results.flush()
            number, name, args = calls.receive()
            results.send((number, functions[name](*args)))

    def map(self, name, arguments, window=256):
        """Calls once per argument, a window of them in flight; gives all results in order."""
        results = []
        due = 0
        for number, argument in enumerate(arguments):
            self.calls.send((number, name, (argument,)))
            due += 1
            if due == window:
                self.calls.flush()
                results += [self.results.receive()[1] for _ in range(window // 2)]
                due -= window // 2
        self.calls.flush()
        results += [self.results.receive()[1] for _ in range(due)]
        return results


class Echo:
    """One byte there and back."""

    def __init__(self):
        there, back = os.pipe(), os.pipe()
        self._pid = fork(self._serve, there[0], back[1], there[1], back[0])
        os.close(there[0])
        os.close(back[1])
        self._write, self._read = there[1], back[0]

    @staticmethod
    def _serve(read, write, *others):
        for fd in others:
            os.close(fd)
        while data := os.read(read, 1):
            os.write(write, data)

    def once(self):
        """Seconds of one round trip."""
        start = time.perf_counter()
        os.write(self._write, b"x")
        os.read(self._read, 1)
        return time.perf_counter() - start

    def __del__(self):
        os.close(self._write)
        os.close(self._read)
