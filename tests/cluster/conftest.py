"""A real Ray, started on loopback with a token of its own; skipped where Ray is not installed."""

import contextlib
import importlib.util
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import skate as module

PATIENCE_S = 60
HAS_RAY = (spec := importlib.util.find_spec("ray")) is not None and spec.origin is not None
PYTHON = Path(module.__file__).parents[1]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))  # Ray leaves sockets open
            item.add_marker(pytest.mark.timeout(180))
            if not HAS_RAY:
                reason = "Ray is not installed; the extra skate[ray] has it"
                item.add_marker(pytest.mark.skip(reason=reason))


class Cluster:
    """One node.

    Attributes:
        address: `ip:port`.
        environment: For its drivers.
    """

    def __init__(self, directory):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_TMPDIR": directory,  # so that nobody else's `auto` finds this cluster
            "PYTHONPATH": f"{PYTHON}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        }
        program = Path(sys.executable).parent / "ray"
        argv = [program, "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
        argv += [f"--port={port}", "--num-cpus=4", "--num-gpus=2"]
        argv += ["--include-dashboard=false", "--object-store-memory=100000000"]
        argv += [f"--temp-dir={directory}", '--resources={"spot": 2}']
        self._popen = subprocess.Popen(
            argv,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._wait_until_it_runs()
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_runs(self):
        deadline, text = time.monotonic() + PATIENCE_S, b""
        while b"runtime started" not in text:
            ready, _, _ = select.select([self._popen.stdout], [], [], deadline - time.monotonic())
            more = os.read(self._popen.stdout.fileno(), 1 << 16) if ready else b""
            if not more:
                pytest.fail(f"Ray did not start: {text.decode()}")
            text += more

    def stop(self):
        self._popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._popen.stdout.close()


@pytest.fixture(scope="session")
def cluster():
    """The cluster; its path is short, because its sockets are in it."""
    import shutil
    import tempfile

    directory = tempfile.mkdtemp(prefix="r", dir="/tmp")
    try:
        made = Cluster(directory)
        yield made
        made.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def ray(cluster):
    """skate, with a session on the cluster that the tests of one file share."""
    before = {name: os.environ.get(name) for name in cluster.environment}
    os.environ.update(cluster.environment)
    module.shutdown()
    module.init(address=cluster.address)
    yield module
    module.shutdown()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def run(tmp_path):
    """Run a program in a process of its own: exit code, stdout and stderr."""

    def run(source, environment):
        path = tmp_path / "prog.py"
        path.write_text(source)
        settings = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SKATE_"))}
        done = subprocess.run(
            [sys.executable, str(path)],
            env={**settings, "PYTHONPATH": str(PYTHON), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run
