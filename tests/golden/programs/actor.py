"""A method of an actor fails."""

import skate as ray


@ray.remote
class Counter:
    def __init__(self, start):
        self.count = start

    def add(self, n):
        self.count += n
        return self.count


ray.init(num_cpus=1)
counter = Counter.remote(1)
ray.get(counter.add.remote("x"))
