"""A process in which one engine answers: started by `run.py`, asked line by line.

    run.py ── {"do": "prepare", "name": ...} ─▶ engine ── {"ok": null} ─▶
           ── {"do": "measure"} ──────────────▶        ── {"ok": [numbers]} ─▶
           ── {"do": "stop"} ─────────────────▶        (leaves its session, ends)

Invariant: standard output carries only the answers; what engines and tasks print goes to standard
error. An engine that does not answer in time is killed with its process group, and loses only the
workload that it was busy with.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from _workload import UnsupportedError

CPUS = 2


class EngineError(Exception):
    """The engine failed, or did not answer in time; the text says which."""


def environment():
    """That of an installed program: modules are compiled once, not at every start.

    Compiled modules go beside the results, so that every engine has them whatever its installation
    wrote, and the source tree stays as it is.
    """
    env = os.environ | {"PYTHONPYCACHEPREFIX": str(Path(__file__).parent / "results" / "pycache")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


class Engine:
    """The end of `run.py`."""

    def __init__(self, name, *, session, params=None):
        self.name = name
        settings = {"engine": name, "session": session, "params": params or {}}
        command = [sys.executable, "-W", "ignore", __file__, json.dumps(settings)]
        self._process = subprocess.Popen(
            command,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
            start_new_session=True,
        )

    def ask(self, timeout_s, **request):
        """Sends one request, waits for its answer."""
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise EngineError("ended by itself") from error
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        if not ready:
            self.kill()
            raise EngineError(f"no answer in {timeout_s:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            self.kill()
            raise EngineError("ended by itself")
        answer = json.loads(line)
        if "unsupported" in answer:
            raise UnsupportedError(answer["unsupported"])
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer["ok"]

    @property
    def is_alive(self):
        """Whether it can be asked."""
        return self._process.poll() is None

    def stop(self):
        """Lets it leave its session."""
        if self.is_alive:
            with contextlib.suppress(EngineError):
                self.ask(30, do="stop")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
        self.kill()

    def kill(self):
        """Ends it and what it has started in its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()


def init(module, **params):
    """A session of two CPUs, without what prints."""
    if module.__name__ == "ray":
        params |= {"include_dashboard": False, "logging_level": "ERROR"}
    module.init(num_cpus=CPUS, log_to_driver=False, **params)


class Served:
    """What the engine's process keeps between two requests."""

    def __init__(self, settings):
        self._registry = importlib.import_module("workloads").REGISTRY
        self._engine = self._module = settings["engine"]
        self._measure = None
        if self._engine in {"skate", "ray"} and settings["session"] is not None:
            self._module = importlib.import_module(self._engine)
            if settings["session"]:
                init(self._module, **settings["params"])

    def answer(self, request):
        """Does what is asked."""
        match request["do"]:
            case "prepare":
                self._measure = None  # what it holds is dropped first
                workload = self._registry[request["name"]]
                self._measure = workload.prepared(self._engine, self._module)
            case "measure":
                numbers = self._measure()
                return list(numbers) if isinstance(numbers, tuple) else [numbers]
            case "stop":
                self._measure = None
                if self._module is not self._engine:
                    self._module.shutdown()
        return None


def serve(settings):
    """The end of the engine."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.insert(0, str(Path(__file__).parent))
    served = Served(settings)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"ok": served.answer(request)}
        except UnsupportedError as error:
            reply = {"unsupported": str(error)}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
        if request["do"] == "stop":
            return


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
