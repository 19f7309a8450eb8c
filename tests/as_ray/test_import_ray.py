"""`import ray` means skate: modules, identity, what is missing; in the driver and in workers."""

import sys

import pytest


def test_ray_and_its_modules_are_those_of_skate(skate_run):
    out = skate_run("""
        import ray, ray.util.queue
        from ray.exceptions import RayTaskError
        from ray.util.actor_pool import ActorPool
        import skate, skate.util.actor_pool
        assert ray.exceptions is skate.exceptions and ray.util is skate.util
        assert RayTaskError is skate.exceptions.RayTaskError
        assert ActorPool is skate.util.actor_pool.ActorPool is ray.util.ActorPool
        assert ray.util.queue.Queue is skate.util.queue.Queue
        assert ray.get is skate.get and ray.actor.ActorHandle is skate.actor.ActorHandle
        print(ray.__name__, ray.__version__)
    """)
    assert out == "ray 2.60.0\n"


def test_the_modules_that_programs_import_are_there(skate_run):
    out = skate_run("""
        import ray._raylet, ray.remote_function, ray.runtime_context, ray.experimental, ray.types
        import ray.util.state, ray.util.annotations, ray.cloudpickle, ray.experimental.tqdm_ray
        assert ray._raylet.StreamingObjectRefGenerator is ray.ObjectRefGenerator
        assert isinstance(ray.remote(lambda: 1), ray.remote_function.RemoteFunction)
        assert ray.ObjectID is ray.ObjectRef is ray.types.ObjectRef
        assert ray.cloudpickle.loads(ray.cloudpickle.dumps(lambda: 3))() == 3
        print((ray.SCRIPT_MODE, ray.WORKER_MODE, ray.LOCAL_MODE))
    """)
    assert out == "(0, 1, 2)\n"


def test_modules_of_util_are_there_after_import_ray_alone(skate_run):
    """Some were AttributeErrors, and `annotations` was that of `__future__`."""
    out = skate_run("""
        import ray
        for name in ("annotations", "helpers", "iter", "metrics", "queue", "serialization"):
            print(getattr(ray.util, name).__name__)
        print(callable(ray.util.placement_group))
    """)
    names = ("annotations", "helpers", "iter", "metrics", "queue", "serializers")
    assert out.split() == [*(f"skate.util.{name}" for name in names), "True"]


def test_find_spec_finds_what_is_there_and_nothing_else(skate_run):
    out = skate_run("""
        from importlib.util import find_spec
        for name in ("ray", "ray.util.queue", "ray.tune", "ray.data"):
            print(name, find_spec(name) is not None)
    """)
    assert out == "ray True\nray.util.queue True\nray.tune False\nray.data False\n"


def test_a_module_keeps_its_own_spec(skate_run):
    out = skate_run("""
        import ray.util.queue, skate
        print(skate.util.queue.__spec__.name, skate.util.__spec__.name)
    """)
    assert out == "skate.util.queue skate.util\n"


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("import ray.tune", "skate has no ray.tune: "),
        ("from ray import tune", "skate has no ray.tune: "),
        ("from ray.data import Dataset", "skate has no ray.data: "),
        ("import ray.data.block", "skate has no ray.data"),
        ("from ray import LoggingConfig", "skate has no ray.LoggingConfig: "),
        ("from ray.util import collective", "skate has no ray.util.collective: "),
        ("from ray.experimental import internal_kv", "use a named actor that holds a dict"),
        ("import ray._private.worker", "it is internal to Ray"),
        ("import ray; ray.cpp_function()", "skate has no ray.cpp_function: "),
        ("import ray; ray.util.collective.allreduce", "torch.distributed"),
    ],
)
def test_what_is_missing_says_so_in_one_sentence(skate_run, statement, sentence):
    out = skate_run(f"""
        try:
            exec({statement!r})
        except (ImportError, AttributeError) as error:
            print(error)
    """)
    assert sentence in out
    assert out.count("\n") == 1


def test_a_name_of_nobody_is_an_ordinary_error(skate_run):
    out = skate_run("""
        import ray
        print(hasattr(ray, "no_such_thing"), hasattr(ray.util, "no_such_thing"))
        print(getattr(ray, "LoggingConfig", "nothing"))
    """)
    assert out == "False False\nnothing\n"


def test_workers_import_ray_and_load_functions_that_have_it(skate_run):
    out = skate_run("""
        import ray

        @ray.remote
        def inside():
            import ray.util.queue
            return ray.__version__, ray.util.queue.Queue.__module__

        @ray.remote
        class Outer:
            def __init__(self):
                self.inner = inside.remote()

            def ask(self):
                return ray.get(self.inner)

        assert ray.get(inside.remote()) == ray.get(Outer.remote().ask.remote())
        print(ray.get(inside.remote()))
    """)
    assert out == "('2.60.0', 'skate.util.queue')\n"


def test_a_library_that_imports_ray_works_in_workers(skate_run, program):
    program(
        """
        import ray
        from ray.exceptions import GetTimeoutError

        class Broken(ValueError):
            pass

        def fails():
            raise Broken("from the library")

        def kind_of_error():
            return GetTimeoutError
        """,
        "library.py",
    )
    out = skate_run("""
        import ray, library
        try:
            ray.get(ray.remote(library.fails).remote())
        except library.Broken as error:
            print(isinstance(error, ray.exceptions.RayTaskError))
        print(ray.get(ray.remote(library.kind_of_error).remote()) is ray.exceptions.GetTimeoutError)
    """)
    assert out == "True\nTrue\n"


def test_the_switch_in_the_environment_is_enough(call, program):
    path = program("""
        import ray
        print(ray.get(ray.remote(lambda: ray.__version__).remote()))
    """)
    done = call(sys.executable, path, environment={"SKATE_AS_RAY": "shadow"})
    assert (done.code, done.out) == (0, "2.60.0\n"), done.err


def test_without_the_switch_there_is_no_ray(call):
    code = "import sys; print(any(type(f).__name__ == 'RayFinder' for f in sys.meta_path))"
    for value in ("", "0"):
        done = call(sys.executable, "-c", code, environment={"SKATE_AS_RAY": value})
        assert done.out == "False\n"


def test_it_is_installed_once_and_before_a_session(call, program):
    path = program("""
        import skate, sys
        skate.install_as_ray(shadow=True)
        skate.install_as_ray()
        import ray
        assert sum(type(f).__name__ == "RayFinder" for f in sys.meta_path) == 1
        print(ray.get(ray.put(1)))
    """)
    assert call(sys.executable, path).out == "1\n"
    late = program("""
        import skate
        skate.init()
        try:
            skate.install_as_ray(shadow=True)
        except RuntimeError as error:
            print(error)
    """)
    assert "call it before init()" in call(sys.executable, late).out


@pytest.fixture
def fake_ray(program):
    """Something called `ray` that is installed beside the program."""
    return program("WHO = 'Ray itself'", "ray/__init__.py")


def test_an_installed_ray_is_not_hidden_unasked(call, program, fake_ray):
    path = program("import ray; print(ray.__name__)")
    search = {"PYTHONPATH": fake_ray.removesuffix("/ray/__init__.py")}
    refused = call(sys.executable, "-m", "skate", "run", path, environment=search)
    assert refused.code == 2
    assert fake_ray in refused.err
    assert "--shadow" in refused.err
    for environment, answer in (("1", "say skate.install_as_ray(shadow=True)"), ("", "ray")):
        done = call(sys.executable, path, environment={**search, "SKATE_AS_RAY": environment})
        assert answer in done.out + done.err


def test_a_ray_that_was_imported_stays(call, program, fake_ray):
    path = program("""
        import ray, skate
        try:
            skate.install_as_ray(shadow=True)
        except ImportError as error:
            print(ray.WHO, "|", error)
    """)
    out = call(sys.executable, path).out
    assert out.startswith("Ray itself | Ray itself was imported already, from ")
    assert fake_ray in out
