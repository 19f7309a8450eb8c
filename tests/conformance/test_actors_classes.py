"""Actor classes and handles: what may be called, how, and with what."""

import pytest


@pytest.fixture(scope="module")
def Counter(ray):
    @ray.remote
    class Counter:
        step = 1

        def __init__(self, start=0, *, step=1):
            self.count = start
            self.step = step

        def add(self, times=1):
            self.count += times * self.step
            return self.count

        def me(self):
            return ray.get_runtime_context().current_actor

        @staticmethod
        def double(value):
            return 2 * value

        @classmethod
        def name(cls):
            return cls.__name__

    return Counter


def test_actor_keeps_its_state_between_calls(ray, Counter):
    counter = Counter.remote(10, step=2)
    assert ray.get([counter.add.remote() for _ in range(3)]) == [12, 14, 16]


def test_actors_of_one_class_are_apart(ray, Counter):
    one, two = Counter.remote(), Counter.remote(100)
    assert ray.get([one.add.remote(), two.add.remote(), one.add.remote()]) == [1, 101, 2]


def test_remote_with_options_makes_an_actor_class(ray):
    @ray.remote(num_cpus=0, max_restarts=1)
    class Named:
        def name(self):
            return "named"

    assert ray.get(Named.remote().name.remote()) == "named"


def test_class_cannot_be_instantiated_directly(Counter):
    with pytest.raises(TypeError, match=r"Instead of '.*Counter\(\)', use '.*Counter\.remote\(\)'"):
        Counter()


def test_method_cannot_be_called_directly(Counter):
    counter = Counter.remote()
    with pytest.raises(TypeError, match=r"try 'object\.add\.remote\(\)'"):
        counter.add()


def test_unknown_method_is_an_attribute_error_at_access(Counter):
    counter = Counter.remote()
    with pytest.raises(AttributeError, match="no attribute 'subtract'"):
        counter.subtract


def test_arity_of_a_method_is_checked_at_the_call(Counter):
    counter = Counter.remote()
    with pytest.raises(TypeError, match="too many positional arguments"):
        counter.add.remote(1, 2)
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'by'"):
        counter.add.remote(by=1)


def test_arity_of_the_constructor_is_checked_at_the_call(Counter):
    with pytest.raises(TypeError, match="too many positional arguments"):
        Counter.remote(1, 2)


def test_unknown_option_of_an_actor_is_refused(Counter):
    with pytest.raises(ValueError, match="Invalid option keyword num_returns for actors"):
        Counter.options(num_returns=2)


def test_static_and_class_methods_are_called_as_methods(ray, Counter):
    counter = Counter.remote()
    assert ray.get([counter.double.remote(4), counter.name.remote()]) == [8, "Counter"]


def test_actor_class_inherits_methods(ray):
    class Base:
        def hello(self):
            return f"hello from {self.where()}"

        def where(self):
            return "base"

    @ray.remote
    class Derived(Base):
        def where(self):
            return f"derived, not {super().where()}"

    assert ray.get(Derived.remote().hello.remote()) == "hello from derived, not base"


def test_actor_class_has_no_subclasses(ray, Counter):
    with pytest.raises(ray.actor.ActorClassInheritanceException, match="subclass 'Worse' of actor"):

        class Worse(Counter):
            pass


def test_refs_as_arguments_are_replaced_by_their_values(ray, Counter):
    counter = Counter.remote(ray.put(5))
    assert ray.get(counter.add.remote(ray.put(3))) == 8


def test_method_with_num_returns_gives_that_many_refs(ray):
    @ray.remote
    class Splitter:
        @ray.method(num_returns=2)
        def split(self, pair):
            return pair

    splitter = Splitter.remote()
    first, second = splitter.split.remote((1, 2))
    assert ray.get([first, second]) == [1, 2]
    assert ray.get(splitter.split.options(num_returns=1).remote((1, 2))) == (1, 2)
    assert splitter.split.options(num_returns=0).remote((1, 2)) is None


def test_method_decorator_needs_no_options(ray):
    @ray.remote
    class Bare:
        @ray.method
        def bare(self, number):
            return number + 1

        @ray.method()
        def empty(self, number):
            return self.bare(number) + 1

    assert ray.get(Bare.remote().empty.remote(1)) == 3


def test_method_decorator_refuses_unknown_options(ray):
    with pytest.raises(AssertionError, match="Unexpected keyword argument to @ray"):
        ray.method(speed=3)


def test_exception_of_a_method_is_raised_by_get_and_the_actor_goes_on(ray):
    @ray.remote
    class Fragile:
        def fail(self):
            raise KeyError("no such thing")

        def work(self):
            return "works"

    fragile = Fragile.remote()
    with pytest.raises(KeyError, match="no such thing") as caught:
        ray.get(fragile.fail.remote())
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    assert ray.get(fragile.work.remote()) == "works"


def test_handle_works_in_tasks_containers_and_closures(ray, Counter):
    counter = Counter.remote()

    @ray.remote
    def by_argument(handle):
        return ray.get(handle.add.remote())

    @ray.remote
    def by_container(handles):
        return ray.get(handles["counter"].add.remote())

    @ray.remote
    def by_closure():
        return ray.get(counter.add.remote())

    assert ray.get(by_argument.remote(counter)) == 1
    assert ray.get(by_container.remote({"counter": counter})) == 2
    assert ray.get(by_closure.remote()) == 3
    assert ray.get(ray.get(ray.put([counter]))[0].add.remote()) == 4


def test_method_is_passed_as_a_value(ray, Counter):
    # It could be before its first call, and not after it.
    counter = Counter.remote()

    @ray.remote
    def call(methods):
        return [ray.get(method.remote(2)) for method in methods]

    assert ray.get(call.remote([counter.add])) == [2]
    assert ray.get(counter.add.remote()) == 3
    methods = counter.add, counter.add.options(name="other"), counter.double
    assert ray.get(call.remote(methods)) == [5, 7, 4]


def test_handle_made_in_a_task_outlives_it(ray, Counter):
    @ray.remote
    def make():
        counter = Counter.remote(7)
        ray.get(counter.add.remote())
        return counter

    assert ray.get(ray.get(make.remote()).add.remote()) == 9


def test_actor_calls_another_actor(ray, Counter):
    @ray.remote
    class Caller:
        def __init__(self, counter):
            self.counter = counter

        def call(self):
            return ray.get(self.counter.add.remote(10))

    assert ray.get(Caller.remote(Counter.remote()).call.remote()) == 10


def test_handles_of_one_actor_are_equal(ray, Counter):
    counter, other = Counter.remote(), Counter.remote()
    again = ray.get(ray.put(counter))
    assert again == counter
    assert hash(again) == hash(counter)
    assert counter != other
    assert again._actor_id == counter._actor_id


def test_current_actor_is_the_actor_itself(ray, Counter):
    counter = Counter.remote()
    assert ray.get(counter.me.remote()) == counter


def test_runtime_context_names_the_actor(ray):
    @ray.remote
    class Who:
        def who(self):
            context = ray.get_runtime_context()
            return context.get_actor_id(), context.get_actor_name()

    who = Who.options(name="who").remote()
    assert ray.get(who.who.remote()) == (who._actor_id.hex(), "who")
    assert ray.get_runtime_context().get_actor_id() is None


def test_error_of_the_constructor_is_raised_by_every_call(ray):
    @ray.remote
    class Broken:
        def __init__(self):
            raise ValueError("cannot be made")

        def work(self):
            return 1

    broken = Broken.remote()
    for _ in range(2):
        with pytest.raises(ray.exceptions.ActorDiedError) as caught:
            ray.get(broken.work.remote())
        text = str(caught.value)
        assert "The actor died because of an error raised in its creation task" in text
        assert "cannot be made" in text
        assert caught.value.actor_init_failed


def test_actor_whose_argument_failed_fails_its_calls(ray, Counter):
    @ray.remote
    def fail():
        raise ValueError("no start")

    counter = Counter.remote(fail.remote())
    with pytest.raises(ray.exceptions.RayError):
        ray.get(counter.add.remote())


def test_special_methods(ray, Counter):
    counter = Counter.remote(3)
    assert ray.get(counter.__ray_ready__.remote()) is True
    assert ray.get(counter.__ray_call__.remote(lambda self, by: self.count + by, 4)) == 7


def test_default_actor_holds_no_cpu(ray):
    @ray.remote
    class Idle:
        def hello(self):
            return "hello"

    idle = [Idle.remote() for _ in range(5)]  # more than there are CPUs
    assert ray.get([actor.hello.remote() for actor in idle]) == ["hello"] * 5


@pytest.mark.processes("nothing is ever taken")
def test_resources_of_an_actor_are_held_while_it_lives(ray):
    @ray.remote(resources={"spot": 2}, num_cpus=0)
    class Spot:
        def hold(self):
            return ray.available_resources().get("spot", 0)

    first = Spot.remote()
    assert ray.get(first.hold.remote()) == 0
    second = Spot.remote()
    call = second.hold.remote()
    assert ray.wait([call], timeout=0.2)[0] == []  # no room for two
    del first
    assert ray.get(call) == 0
