"""What `init` makes of an address where Ray is not installed."""

import os
import subprocess
import sys

HIDE = "import sys; sys.modules['ray'] = None\n"  # so the tests hold where Ray is installed, too


def run(source, **environment):
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SKATE_"))}
    done = subprocess.run(
        [sys.executable, "-c", HIDE + source],
        env={**settings, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_address_without_the_extra_is_one_error_that_names_it():
    for address in ("auto", "192.0.2.1:6379"):
        out = run(f"""
import skate
try:
    skate.init({address!r})
except ImportError as error:
    print(error)
""")
        assert f"init(address={address!r})" in out
        assert "pip install 'skate[ray]'" in out


def test_skate_address_is_an_address_too():
    out = run(
        "import skate\ntry:\n    skate.put(1)\nexcept ImportError as error:\n    print(error)",
        SKATE_ADDRESS="auto",
    )
    assert "init(address='auto')" in out


HERE = "import skate; skate.init(num_cpus=1); print(skate.nodes()[0]['NodeManagerAddress'])"


def test_without_the_extra_ray_address_counts_for_nothing():
    assert run(HERE, RAY_ADDRESS="192.0.2.1:1") == "127.0.0.1\n"


def test_local_wins_over_the_environment():
    assert run(HERE, SKATE_ADDRESS="local", RAY_ADDRESS="192.0.2.1:1") == "127.0.0.1\n"
    given = HERE.replace("num_cpus=1", "address='local', num_cpus=1")
    assert run(given, SKATE_ADDRESS="192.0.2.1:1") == "127.0.0.1\n"


def test_another_version_of_ray_is_one_error_with_the_fix():
    """A stand-in for Ray refuses as Ray does: a cluster of another version is nothing to start."""
    out = run("""
import types, socket
listener = socket.create_server(("127.0.0.1", 0))
ray = sys.modules["ray"] = types.ModuleType("ray")
ray.exceptions = sys.modules["ray.exceptions"] = types.ModuleType("ray.exceptions")
ray.exceptions.AuthenticationError = type("AuthenticationError", (Exception,), {})
def init(**_options):
    raise RuntimeError("Version mismatch: The cluster was started with: Ray: 2.50.0")
ray.init, ray.is_initialized, ray.shutdown = init, lambda: False, lambda: None
import skate
try:
    skate.init(f"127.0.0.1:{listener.getsockname()[1]}")
except skate.exceptions.RaySystemError as error:
    print(error)
""")
    assert "Version mismatch: The cluster was started with: Ray: 2.50.0" in out
    assert "pip install 'skate[ray]' 'ray==<its version>'" in out
