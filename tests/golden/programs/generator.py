"""A generator fails at item 7."""

import skate as ray


@ray.remote
def rows(n):
    for i in range(n):
        if i == 7:
            raise KeyError(f"row {i}")
        yield i


ray.init(num_cpus=1)
for ref in rows.remote(10):
    print(ray.get(ref))
