"""A task gets what another one raised, and raises something of its own."""

import skate as ray


@ray.remote
def invert(x):
    return 1 / x


@ray.remote
def mean(numbers):
    return sum(ray.get([invert.remote(n) for n in numbers])) / len(numbers)


@ray.remote
def report(numbers, title="means"):
    try:
        return title, ray.get(mean.remote(numbers))
    except ZeroDivisionError as error:
        raise ValueError("no mean") from error


ray.init(num_cpus=2)
ray.get(report.remote([0]))
