"""The driver and its zygote, when one of them says anything at all to the other.

A real zygote whose reports are changed by a seed: the driver goes on, with another zygote if need
be. A zygote that is told anything by its driver: it ends, and so do those whom it has forked.

`SKATE_FUZZ_SEEDS=n` plays the seeds 1 to n, as far as `MOST`: each is a program of its own.
"""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from programs import PATIENCE_S, wait_for_end

pytestmark = pytest.mark.processes("it is about processes")

USUAL, MOST = 6, 300
SEEDS = range(1, 1 + min(int(os.environ.get("SKATE_FUZZ_SEEDS", USUAL)), MOST))

LIES = """
import json, os, random
from skate import _zygote

with open({once!r} + ".zygotes", "ab") as zygotes:  # each tells other lies: else all end alike
    zygotes.write(b"x")
rng = random.Random({seed} << 32 | os.stat({once!r} + ".zygotes").st_size)
told = _zygote.Zygote._try_send
strange = []

def descriptor_of_something():
    if not strange:  # late, since the zygote begins by closing what it finds
        strange.extend([os.open(os.devnull, os.O_RDONLY), *os.pipe(), os.pidfd_open(os.getppid())])
    return rng.choice([None, *strange])

def garbled(packet):
    # What still is a report, of another worker, would be a lost one: nobody can find out.
    garbage = packet
    while is_json(garbage):
        garbage, at = bytearray(packet), rng.randrange(len(packet))
        way = rng.randrange(5)
        if way == 0:
            garbage[at] = rng.randrange(256)
        elif way == 1:
            del garbage[max(at, 1):]
        elif way == 2:
            garbage[at:at] = b"[" * rng.choice([1, 200, 60_000])
        elif way == 3:
            garbage = bytearray(rng.randbytes(rng.choice([1, 100, 70_000])))
        else:
            garbage[at:at] = b"\\ud800"
    return bytes(garbage)

def is_json(packet):
    try:
        return bool(json.loads(packet))
    except (ValueError, RecursionError):
        return False

def nonsense():
    client = rng.choice([0, 1, 2, 3, 999, 5000, 2**32 - 1])
    word = {{"op": rng.choice(["ready", "spawned", "failed", "exited"]), "client": client}}
    # Another group than its own would be killed; the rest is told apart.
    word["pid"] = rng.choice([0, 1, 2**32 - 1])
    word["error"] = "a lie"
    ends = [(None, None), (-1, 64), (2**31 - 1, 9), (0, None)]
    word["exit_code"], word["signal"] = rng.choice(ends)
    return json.dumps(word).encode()

def lie(self, packet, descriptor):
    way = rng.randrange(8)
    if os.path.exists({once!r}) or way > 3:
        return told(self, packet, descriptor)
    if way == 0:
        return told(self, garbled(packet), descriptor)
    if way == 1:
        told(self, nonsense(), descriptor_of_something())
        return told(self, packet, descriptor)
    if way == 2:
        told(self, packet, descriptor)
        return told(self, packet, descriptor)
    return told(self, packet, None if descriptor is None else descriptor_of_something())

_zygote.Zygote._try_send = lie
"""

PROGRAM = """
from skate import _launch
usual, lies = _launch.zygote_argv, {lies!r}

def hostile():
    *argv, code = usual()
    return [*argv, code.replace("; main()", f"; exec({{lies!r}}); main()")]

_launch.zygote_argv = hostile
skate.init(num_cpus=2)

@skate.remote
def square(x):
    if x % 5 == 0:
        os._exit(1)  # its worker's end is told, and another one is wanted
    return x * x

rights = 0
for _ in range(3):
    for x, ref in enumerate([square.options(max_retries=0).remote(x) for x in range(8)]):
        try:
            assert skate.get(ref, timeout=20) == x * x
            rights += 1
        except skate.exceptions.RayError as error:
            assert not isinstance(error, skate.exceptions.GetTimeoutError), x
open({once!r}, "w").close()
refs = [square.options(max_retries=9).remote(x) for x in range(1, 5)]
assert skate.get(refs, timeout=20) == [1, 4, 9, 16]
skate.shutdown()
print(rights)
"""


@pytest.mark.parametrize("seed", SEEDS)
def test_driver_goes_on_whatever_its_zygote_reports(start, tmp_path, seed):
    once = str(tmp_path / "honest-from-now-on")
    lies = LIES.format(seed=seed, once=once)
    program = start(PROGRAM.format(lies=lies, once=once))
    out, err = program.succeed(60)
    assert int(out) >= 0
    assert "panicked" not in err


HELLO = {
    "op": "hello", "session": "0" * 16, "driver_pid": 1, "cwd": "", "namespace": "",
    "as_ray": False, "runtime_env": None, "log_level": 30, "sys_path": [], "argv": [],
    "inspect": False, "cells": False, "preload": [], "labels": {},
}  # fmt: skip


def word(rng):
    sound = {
        "op": rng.choice(["spawn", "spawn", "preload", "kill", "exit", "hello", "x"]),
        "client": rng.choice([1, 2, -1, 2**70, "1", None]),
        "module": rng.choice(["json", "no_such_module", "", "..", "\0", 5, None]),
    }
    if rng.random() < 0.2:
        del sound[rng.choice(list(sound))]
    packet = json.dumps(rng.choice([sound] * 9 + [[sound], 5, None])).encode()
    if rng.random() < 0.3:
        at = rng.randrange(len(packet))
        packet = rng.choice([
            packet[: at + 1], packet[:at] + b"\xff" + packet[at:], b"[" * 60_000, rng.randbytes(60),
        ])  # fmt: skip
    return packet


@pytest.mark.parametrize("seed", SEEDS)
def test_zygote_ends_with_all_its_children_whatever_it_is_told(seed):
    rng = random.Random(seed)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = "from skate._zygote import main; main()"
    with tempfile.TemporaryFile() as stderr, ours:
        zygote = subprocess.Popen(
            [sys.executable, "-c", code], stdin=theirs, stdout=stderr, stderr=stderr
        )
        theirs.close()
        driver = os.pidfd_open(os.getpid())
        null = os.open(os.devnull, os.O_RDWR)
        hello = os.memfd_create("hello")
        os.write(hello, json.dumps(HELLO).encode() if rng.random() < 0.8 else word(rng))
        try:
            ours.settimeout(PATIENCE_S)
            with contextlib.suppress(OSError):  # it may have ended over the word before
                socket.send_fds(ours, [b'{"op": "hello"}'], [hello, driver, null, null])
                for _ in range(8):
                    descriptors = [null] * rng.choice([0, 1, 3, 3, 3, 8, 20])
                    socket.send_fds(ours, [word(rng)], descriptors)
            if rng.random() < 0.5:
                with contextlib.suppress(OSError):
                    ours.send(b'{"op": "exit"}')
            ours.shutdown(socket.SHUT_RDWR)
            children = []
            with contextlib.suppress(OSError):
                told = Path(f"/proc/{zygote.pid}/task/{zygote.pid}/children").read_text()
                children = [int(pid) for pid in told.split()]
            assert zygote.wait(PATIENCE_S) in {0, 1}
            for pid in children:
                assert wait_for_end(pid)
        finally:
            if zygote.poll() is None:
                zygote.kill()
                zygote.wait()
            for descriptor in (hello, driver, null):
                os.close(descriptor)
