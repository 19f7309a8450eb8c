"""A task fails; what takes its result, and what takes that, does not run."""

import skate as ray


def parse(row):
    return int(row["n"])


@ray.remote
def load(path, *, rows):
    return parse({"n": "x1", "path": path, "rows": rows})


@ray.remote
def double(value):
    return 2 * value


@ray.remote
def total(*values):
    return sum(values)


ray.init(num_cpus=2)
good, bad = ray.put(1), load.remote("a.csv", rows=[1, 2, 3])
ray.get(total.remote(good, double.remote(bad)))
