"""The constructor of an actor fails: every call does."""

import skate as ray


@ray.remote
class Model:
    def __init__(self, weights):
        self.scale = weights["scale"]

    def apply(self, x):
        return self.scale * x


ray.init(num_cpus=1)
ray.get(Model.remote({}).apply.remote(2))
