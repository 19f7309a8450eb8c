"""Labels and node affinity: what this machine satisfies runs, the rest is an error of the call.

`init(labels={"zone": "a"})` was shown by `nodes`, and `label_selector={"zone": "a"}` was refused:
"the one machine has no labels". A strategy that allows only another node was ignored.
"""

import pytest

from skate.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@pytest.fixture(scope="module", params=[False, True], ids=["processes", "local"])
def ray(request):
    import skate as module

    module.init(num_cpus=2, labels={"zone": "a", "näme": ""}, local_mode=request.param)
    yield module
    module.shutdown()


@pytest.fixture(scope="module")
def one(ray):
    @ray.remote
    def one():
        return 1

    return one


@pytest.fixture(scope="module")
def counter(ray):
    @ray.remote(num_cpus=0)
    class Counter:
        def one(self):
            return 1

    return Counter


@pytest.mark.parametrize(
    "selector",
    [
        {"zone": "a"}, {"zone": "!b"}, {"zone": "in(b, a)"}, {"zone": "!in(b,c)"},
        {"zone": "a", "kind": "!b"}, {"näme": ""}, {}, None,
    ],
)  # fmt: skip
def test_labels_of_this_node_select_it(ray, one, counter, selector):
    assert ray.get(one.options(label_selector=selector).remote()) == 1
    assert ray.get(counter.options(label_selector=selector).remote().one.remote()) == 1


@pytest.mark.parametrize(
    "selector",
    [{"zone": "b"}, {"zone": "!a"}, {"zone": "!in(b, a)"}, {"zone": "a", "kind": "b"}],
)
def test_other_labels_are_refused_by_the_call(ray, one, counter, selector):
    for asked in (one, counter):
        with pytest.raises(
            ValueError, match=r"label_selector=\{'zone'.*the labels of the one node"
        ):
            asked.options(label_selector=selector).remote()


def test_fallback_selects_instead(ray, one):
    elsewhere = one.options(label_selector={"zone": "b"})
    here = elsewhere.options(fallback_strategy=[{"label_selector": {"zone": "a"}}])
    assert ray.get(here.remote()) == 1
    assert ray.get(one.options(fallback_strategy=[]).remote()) == 1
    nowhere = elsewhere.options(fallback_strategy=[{"label_selector": {"zone": "c"}}])
    with pytest.raises(ValueError, match="label_selector"):
        nowhere.remote()


def test_selectors_that_are_none(one):
    for selector in ({"zone": "in(a"}, {"zone": "in()a"}, {"zone": "!!a"}, {"zone": "a b"}):
        with pytest.raises(
            ValueError, match=r"label_selector\['zone'\] is '.*, but must be 'a val"
        ):
            one.options(label_selector=selector)
    with pytest.raises(TypeError, match=r"label_selector\['zone'\] is 5, but must be a str"):
        one.options(label_selector={"zone": 5})
    with pytest.raises(ValueError, match=r"fallback_strategy\[0\] is \{\}, but must be"):
        one.options(fallback_strategy=[{}])


def test_labels_are_known_to_the_driver_and_to_tasks(ray):
    @ray.remote
    def inside():
        return ray.get_runtime_context().get_node_labels(), ray.nodes()[0]["Labels"]

    here = ray.get_runtime_context()
    labels = {"zone": "a", "näme": "", "ray.io/node-id": here.get_node_id()}
    assert here.get_node_labels() == labels
    assert ray.nodes()[0]["Labels"] == labels
    assert ray.get(inside.remote()) == (labels, labels)


@pytest.mark.parametrize("labels", [{"zone": 1}, {1: "a"}, {"zone": None}, ["zone"], ""])
def test_labels_that_are_no_texts(fresh, labels):
    with pytest.raises(TypeError, match=r"init: labels.* is .*, but must be a "):
        fresh.init(num_cpus=1, labels=labels)
    assert not fresh.is_initialized()


def test_node_affinity_means_this_node(ray, one, counter):
    here = ray.get_runtime_context().get_node_id()
    for strategy in (
        NodeAffinitySchedulingStrategy(here, soft=False),
        NodeAffinitySchedulingStrategy("00" * 28, soft=True),
    ):
        assert ray.get(one.options(scheduling_strategy=strategy).remote()) == 1
        actor = counter.options(scheduling_strategy=strategy).remote()
        assert ray.get(actor.one.remote()) == 1


def test_affinity_to_another_node_alone_is_unschedulable(ray, one, counter):
    elsewhere = NodeAffinitySchedulingStrategy("00" * 28, soft=False)
    with pytest.raises(ray.exceptions.TaskUnschedulableError, match="one cannot run: its strategy"):
        one.options(scheduling_strategy=elsewhere).remote()
    with pytest.raises(ray.exceptions.ActorUnschedulableError, match="Counter cannot run"):
        counter.options(scheduling_strategy=elsewhere).remote()
