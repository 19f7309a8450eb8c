"""`skate check`: which names of Ray a program uses, and what skate makes of each."""

import sys

from skate._ray_uses import report, uses_in


def names(source):
    return list(uses_in(source))


def test_names_are_found_under_any_alias():
    source = "import ray as r\nimport ray.util as u\nfrom ray.util import queue as q, ActorPool\n"
    source += "r.get(1)\nu.queue.Queue()\nq.Empty\nActorPool([])\n"
    assert names(source) == [
        "ray.get",
        "ray.util",
        "ray.util.ActorPool",
        "ray.util.queue",
        "ray.util.queue.Empty",
        "ray.util.queue.Queue",
    ]


def test_methods_of_objects_are_no_names_of_ray():
    source = "import ray\nray.remote(f).options(num_cpus=1).remote(2)\nx.ray.get\nray.remote.foo\n"
    assert names(source) == ["ray.remote"]


def test_every_line_is_kept():
    assert uses_in("import ray\nray.put(1)\n\nray.put(2)\n") == {"ray.put": [2, 4]}


def test_skate_under_rays_name_is_read_too():
    assert names("import skate as ray\nfrom skate.util import ActorPool\nray.wait([])") == [
        "ray.util.ActorPool",
        "ray.wait",
    ]


def treatments(source):
    lines, is_missing = report("p", uses_in(source))
    return {line.split()[1]: line.split()[2] for line in lines[:-1]}, is_missing


def test_each_treatment_is_said():
    source = """
import ray
ray.init(num_cpus=2, dashboard_host="x", job_config=1)
ray.wait([]); ray.cancel(1); ray.cross_language(); ray.util.state.list_nodes_of_mars()
@ray.remote(num_returns=2, memory_of_elephants=1)
def f(): ...
"""
    assert treatments(source) == (
        {
            "ray.cancel": "differs",
            "ray.cross_language": "missing",
            "ray.init": "differs",
            "ray.init(dashboard_host=)": "ignored",
            "ray.init(job_config=)": "missing",
            "ray.init(num_cpus=)": "same",
            "ray.remote": "same",
            "ray.remote(memory_of_elephants=)": "missing",
            "ray.remote(num_returns=)": "same",
            "ray.util.state.list_nodes_of_mars": "missing",
            "ray.wait": "same",
        },
        True,
    )


def test_the_command_prints_a_table_and_says_by_its_code_if_something_is_missing(call, program):
    good = program("import ray\nray.get(ray.put(1))\n", "good.py")
    bad = program("from ray import serve\n", "bad.py")
    done = call(sys.executable, "-m", "skate", "check", good)
    assert done.code == 0
    assert f"{good}:2  ray.get  same" in done.out
    assert done.out.rstrip().endswith("2 names of Ray: 1 differs, 1 same")
    done = call(sys.executable, "-m", "skate", "check", good, bad)
    assert done.code == 1
    assert "ray.serve  missing  skate is tasks" in done.out


def test_what_cannot_be_read_is_said(call, program):
    done = call(sys.executable, "-m", "skate", "check", "nosuch.py")
    assert (done.code, done.err) == (2, "skate check: nosuch.py: No such file or directory\n")
    done = call(sys.executable, "-m", "skate", "check", program("def"))
    assert done.code == 2
    assert "is no Python program" in done.err


def test_a_program_without_ray_has_no_table(call, program):
    done = call(sys.executable, "-m", "skate", "check", program("print(1)"))
    assert done.code == 0
    assert "uses no name of Ray" in done.out
