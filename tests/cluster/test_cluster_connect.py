"""How a program comes to a cluster, and what it is told when it does not."""

from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "written_for_ray.py"
QUICK_START = """
import skate as ray

@ray.remote
def lines(n):
    for k in range(n):
        yield "a line of five words " * k

@ray.remote
def count_words(line):
    return len(line.split())

ray.init({init})
counts = [count_words.remote(line) for line in lines.remote(5)]
print(sum(ray.get(counts)), "words")
"""


def test_the_quick_start_runs_on_both_by_changing_only_init(cluster, run):
    here = run(QUICK_START.format(init=""), {})
    there = run(QUICK_START.format(init=f'"{cluster.address}"'), cluster.environment)
    assert here[:2] == (0, "50 words\n")
    assert there[:2] == (0, "50 words\n"), there[2]


def test_the_program_written_for_ray_runs_on_ray_itself(run):
    """tests/as_ray/test_documents.py runs it on skate: it is the same file."""
    done = run(EXAMPLE.read_text(), {})
    assert done[0] == 0, done[2]
    assert ", by ray 2." in done[1]


def test_skate_address_is_enough_and_wins(cluster, run):
    addresses = {"SKATE_ADDRESS": cluster.address, "RAY_ADDRESS": "192.0.2.1:1"}
    done = run(QUICK_START.format(init=""), {**cluster.environment, **addresses})
    assert done[:2] == (0, "50 words\n"), done[2]
    program = "import skate; skate.init(); print(skate.nodes()[0]['NodeManagerAddress'])"
    local = {"SKATE_ADDRESS": "local", "RAY_ADDRESS": "192.0.2.1:1"}
    assert run(program, local)[:2] == (0, "127.0.0.1\n")


def test_ray_address_is_honoured_and_printed(cluster, run):
    done = run(QUICK_START.format(init=""), {**cluster.environment, "RAY_ADDRESS": cluster.address})
    assert done[:2] == (0, "50 words\n"), done[2]
    assert f"skate: RAY_ADDRESS={cluster.address}: connecting to that cluster" in done[2]


FAILING = """
import skate
try:
    skate.init({arguments})
except {error} as error:
    print(error)
"""


def test_arguments_about_this_machine_do_not_fit(cluster, run):
    source = FAILING.format(arguments=f'"{cluster.address}", num_cpus=2', error="ValueError")
    done = run(source, cluster.environment)
    assert "num_cpus=2 is about this machine" in done[1], done[2]


def test_rays_client_is_refused_by_name(run):
    """It has no streams: started on a real one, such a program fails at its first generator."""
    source = FAILING.format(arguments="'ray://127.0.0.1:10001'", error="ValueError")
    done = run(source, {})
    assert "Ray's client (ray://) has no streaming generators" in done[1], done
    assert "address='auto'" in done[1], done


def test_a_cluster_that_is_not_there_is_one_error_with_the_fix(run):
    address = "127.0.0.1:1"
    done = run(FAILING.format(arguments=repr(address), error="ConnectionError"), {})
    assert f"init(address={address!r}): no Ray cluster answers there" in done[1], done
    assert "ray start --head" in done[1], done


def test_a_wrong_token_is_one_error_with_the_fix(cluster, run):
    wrong = {**cluster.environment, "RAY_AUTH_TOKEN": "0" * 64}
    source = FAILING.format(
        arguments=f'"{cluster.address}"', error="skate.exceptions.AuthenticationError"
    )
    done = run(source, wrong)
    assert "RAY_AUTH_TOKEN" in done[1], done
    assert done[1].startswith(f"init(address='{cluster.address}'): the cluster refuses")


def test_as_ray_and_a_cluster_exclude_each_other(cluster, run):
    source = "import skate; skate.install_as_ray(shadow=True)\n" + FAILING.format(
        arguments=f'"{cluster.address}"', error="ImportError"
    )
    done = run(source, cluster.environment)
    assert "`import ray` means skate in this program" in done[1], done[2]


def test_a_session_here_can_follow_one_there(cluster, run):
    source = f"""
import skate
skate.init("{cluster.address}")
there = skate.get(skate.remote(lambda: 1).remote())
skate.shutdown()
skate.init(num_cpus=1)
print(there, skate.get(skate.remote(lambda: 2).remote()), skate.cluster_resources()["CPU"])
"""
    done = run(source, cluster.environment)
    assert done[:2] == (0, "1 2 1.0\n"), done[2]
