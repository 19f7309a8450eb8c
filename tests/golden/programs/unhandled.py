"""An error that nobody fetches is reported once, when its last ref has gone."""

import skate as ray


@ray.remote
def forgotten(number, data):
    raise ValueError(f"nobody asked for {number}")


@ray.remote
def after():
    """Runs in the same worker, so the other one has ended when this has."""


ray.init(num_cpus=1)
forgotten.remote(1, b"x" * 1000)
ray.get(after.remote())
