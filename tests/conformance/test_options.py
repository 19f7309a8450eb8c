"""Options: how they are given, which win, and what they ask of the machine."""

import pytest


def test_options_override_the_decorator_for_the_copy_only(ray):
    @ray.remote(num_returns=2)
    def pair():
        return 1, 2

    assert ray.get(pair.options(num_returns=1).remote()) == (1, 2)
    assert ray.get(pair.remote()) == [1, 2]


def test_name_is_what_the_task_is_called(ray):
    @ray.remote
    def who():
        return ray.get_runtime_context().get_task_name()

    assert ray.get(who.options(name="worker bee").remote()) == "worker bee"
    assert ray.get(who.remote()).endswith("who")


def test_options_and_arguments_in_one_call(ray):
    @ray.remote
    def pair(first, second=2):
        return first, second

    @ray.remote(num_cpus=0)
    class Pairs:
        def __init__(self, first=0):
            self.first = first

        def pair(self, second):
            return self.first, second

    assert ray.get(pair._remote((1,), {"second": 3}, num_returns=2)) == [1, 3]
    assert ray.get(pair._remote(args=[1])) == (1, 2)
    actor = Pairs._remote(kwargs={"first": 1}, name="pairs")
    assert ray.get_actor("pairs") == actor
    assert ray.get(actor.pair._remote([2], num_returns=2)) == [1, 2]
    assert ray.get(Pairs._remote().pair._remote(kwargs={"second": 2})) == (0, 2)


@pytest.mark.parametrize("amount", [0, 0.5, 1, 2])
def test_cpu_amounts_may_be_zero_or_fractions(ray, amount):
    @ray.remote
    def one():
        return 1

    assert ray.get([one.options(num_cpus=amount).remote() for _ in range(3)]) == [1, 1, 1]


def test_custom_resource_limits_how_many_run(ray, gates):
    arrived, go_on = gates("arrived"), gates("go_on")

    @ray.remote(num_cpus=0, resources={"spot": 2})
    def hold():
        arrived.write_bytes(b"")
        go_on.read_bytes()
        return "held"

    @ray.remote(num_cpus=0, resources={"spot": 1})
    def after():
        return "after"

    first = hold.remote()
    arrived.read_bytes()
    second = after.remote()
    ready, pending = ray.wait([first, second], timeout=0.2)  # nothing may come
    assert (ready, pending) == ([], [first, second])
    go_on.write_bytes(b"")
    assert ray.get([first, second]) == ["held", "after"]


def test_two_tasks_of_half_a_cpu_run_at_once(ray, gates):
    here, there = gates("here"), gates("there")

    @ray.remote(num_cpus=0.5)
    def meet(mine, other, first):
        if first:
            mine.write_bytes(b"")
            other.read_bytes()
        else:
            other.read_bytes()
            mine.write_bytes(b"")
        return True

    refs = [meet.remote(here, there, True), meet.remote(there, here, False)]
    assert ray.get(refs) == [True, True]


@pytest.mark.processes("nothing is ever pending")
def test_task_that_needs_more_than_there_is_stays_pending(ray):
    @ray.remote(num_cpus=100)
    def huge():
        return 1

    ref = huge.remote()
    assert ray.wait([ref], timeout=0.2) == ([], [ref])
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)


def test_unknown_option_names_itself(ray):
    with pytest.raises(ValueError, match=r"Invalid option keyword.*colour"):
        ray.remote(colour="red")(lambda: 1)

    @ray.remote
    def one():
        return 1

    with pytest.raises(ValueError, match=r"Invalid option keyword.*colour"):
        one.options(colour="red")


@pytest.mark.parametrize("name", ["CPU", "GPU"])
def test_cpus_and_gpus_are_no_custom_resources(ray, name):
    with pytest.raises(ValueError, match=name):
        ray.remote(resources={name: 1})(lambda: 1)


@pytest.mark.parametrize(
    "options",
    [
        {"num_cpus": -1},
        {"num_gpus": -1},
        {"memory": -1},
        {"resources": {"spot": -1}},
        {"max_retries": -2},
    ],
)
def test_amounts_out_of_range_are_value_errors(ray, options):
    with pytest.raises(ValueError):
        ray.remote(**options)(lambda: 1)


@pytest.mark.parametrize("value", [-1, "many", 1.5, [2]])
def test_num_returns_of_a_wrong_kind_is_a_value_error(ray, value):
    with pytest.raises(ValueError):
        ray.remote(num_returns=value)(lambda: 1).remote()


@pytest.mark.parametrize("mode", ["streaming", "dynamic"])
def test_plain_function_cannot_be_a_stream(ray, mode):
    with pytest.raises(ValueError, match="can only be used with generator functions"):
        ray.remote(num_returns=mode)(lambda: 1)

    @ray.remote
    def plain():
        return 1

    with pytest.raises(ValueError, match="can only be used with generator functions"):
        plain.options(num_returns=mode).remote()
