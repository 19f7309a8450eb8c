"""`pip` and `uv` of a `runtime_env`: installed once, offline here, from wheels made by the test."""

import fcntl
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.processes("workers with packages of their own")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKATE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "packages"


METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def wheel(tmp_path):
    """Make a wheel of one module, whose `version` is as said."""

    def wheel(name, version):
        path = tmp_path / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(f"{name}.py", f"version = {version!r}\n")
            file.writestr(f"{info}/METADATA", METADATA.format(name, version))
            file.writestr(f"{info}/WHEEL", WHEEL)
            file.writestr(f"{info}/RECORD", "")
        return str(path)

    return wheel


def installed(cache):
    """The directories of the cache, without the locks."""
    return sorted(path.name for path in cache.glob("*") if not path.suffix)


def has_uv():
    return find_spec("uv") is not None or shutil.which("uv") is not None


INSTALLERS = [
    "pip",
    pytest.param("uv", marks=pytest.mark.skipif(not has_uv(), reason="uv is not installed here")),
]


@pytest.mark.parametrize("installer", INSTALLERS)
def test_a_session_has_what_it_asks_for_in_every_worker(fresh, wheel, cache, installer):
    fresh.init(num_cpus=2, runtime_env={installer: [wheel("skate_test_parcel", "1.0")]})

    @fresh.remote
    def version():
        import skate_test_parcel

        return skate_test_parcel.version

    assert fresh.get([version.remote() for _ in range(4)]) == ["1.0"] * 4
    assert len(installed(cache)) == 1


def test_tasks_beside_each_other_have_different_versions_and_leave_nothing(fresh, wheel, cache):
    fresh.init(num_cpus=1)

    @fresh.remote
    def version():
        import skate_test_parcel

        return skate_test_parcel.version

    one = version.options(runtime_env={"pip": [wheel("skate_test_parcel", "1.0")]})
    two = version.options(runtime_env={"pip": {"packages": [wheel("skate_test_parcel", "2.0")]}})
    refs = [one.remote(), two.remote(), one.remote()]
    assert fresh.get(refs) == ["1.0", "2.0", "1.0"]
    assert len(installed(cache)) == 2
    with pytest.raises(ModuleNotFoundError):
        fresh.get(version.remote())


def test_what_a_task_starts_has_its_packages(fresh, cache):
    """They were dropped on the way to what it starts."""
    from skate._packages import _key, spec

    env = {"pip": ["skate-test-parcel"]}
    place = cache / _key(spec("test", "pip", env["pip"]))  # as if they had been installed
    place.mkdir(parents=True)
    (place / "skate_test_parcel.py").write_text("version = '1.0'")
    fresh.init(num_cpus=1)

    @fresh.remote
    def version():
        import skate_test_parcel

        return skate_test_parcel.version

    outer = fresh.remote(lambda: fresh.get(version.remote()))
    assert fresh.get(outer.options(runtime_env=env).remote()) == "1.0"


def test_what_is_in_the_cache_is_not_installed_again(fresh, wheel, cache, tmp_path, monkeypatch):
    env = {"pip": [wheel("skate_test_parcel", "1.0")]}
    fresh.init(num_cpus=1, runtime_env=env)
    fresh.shutdown()
    (place,) = installed(cache)
    (cache / place / "skate_test_parcel.py").write_text("version = 'from the cache'\n")
    fresh.init(num_cpus=1, runtime_env=env)

    @fresh.remote
    def version():
        import skate_test_parcel

        return skate_test_parcel.version

    assert fresh.get(version.remote()) == "from the cache"


INSTALL = """
import sys
from skate import _packages
_packages._command = lambda _: ["sh", sys.argv[1]]
_packages.directory(_packages.spec("test", "uv", ["parcel"]))
"""


def test_an_installer_whose_driver_is_killed_keeps_others_away(cache, tmp_path, gates):
    """Another driver took the lock, and both installers wrote to one directory."""
    begun, goes_on = gates("begun"), gates("goes_on")
    script = tmp_path / "installer"
    script.write_text(f"echo > {begun}; cat {goes_on}")
    driver = subprocess.Popen([sys.executable, "-c", INSTALL, script])
    begun.read_bytes()
    driver.kill()
    driver.wait()
    (path,) = cache.glob("*.lock")
    with path.open("w") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        goes_on.write_bytes(b"")
        fcntl.flock(lock, fcntl.LOCK_EX)  # it ends, and the next one may begin


def test_a_requirements_file_is_read(fresh, wheel, tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"# ours\n{wheel('skate_test_parcel', '3.0')}  # local\n\n")

    @fresh.remote
    class Reader:
        def version(self):
            import skate_test_parcel

            return skate_test_parcel.version

    fresh.init(num_cpus=1)
    reader = Reader.options(runtime_env={"pip": str(requirements)}).remote()
    assert fresh.get(reader.version.remote()) == "3.0"


NOWHERE = {"packages": ["skate-test-parcel-that-is-nowhere"], "pip_install_options": ["--no-index"]}


def test_a_failure_of_a_session_is_an_error_of_init_with_what_pip_said(fresh, cache):
    with pytest.raises(
        fresh.exceptions.RuntimeEnvSetupError, match=r"(?s)pip could not.*No matching"
    ):
        fresh.init(runtime_env={"pip": NOWHERE})
    assert not fresh.is_initialized()
    assert installed(cache) == []


def test_a_cache_that_cannot_be_made_is_an_error_that_says_where(fresh, cache, monkeypatch):
    """It was a bare error of `os.makedirs`, through frames of skate."""
    cache.parent.touch()  # a file
    monkeypatch.delenv("SKATE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    where = rf"pip cannot install to {cache.parent}/skate/packages \(SKATE_CACHE_DIR names"
    with pytest.raises(fresh.exceptions.RuntimeEnvSetupError, match=where):
        fresh.init(num_cpus=1, runtime_env={"pip": ["parcel"]})
    fresh.init(num_cpus=1)
    task = fresh.remote(runtime_env={"pip": ["parcel"]})(lambda: 1)
    with pytest.raises(fresh.exceptions.RuntimeEnvSetupError, match=where):
        fresh.get(task.remote())


def test_a_failure_of_a_task_is_its_error(fresh):
    fresh.init(num_cpus=1)

    @fresh.remote(runtime_env={"pip": NOWHERE})
    def never():
        raise AssertionError

    with pytest.raises(fresh.exceptions.RuntimeEnvSetupError, match="No matching distribution"):
        fresh.get(never.remote())


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        ({"pip": 1}, TypeError, "pip must be a list"),
        ({"pip": {"package": []}}, ValueError, r"pip has \['package'\]"),
        ({"pip": "/nowhere.txt"}, ValueError, "requirements file '/nowhere.txt'"),
        ({"conda": "env"}, ValueError, "use 'pip' or 'uv'"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(fresh, wrong, error, match):
    with pytest.raises(error, match=match):
        fresh.remote(lambda: 1).options(runtime_env=wrong)
