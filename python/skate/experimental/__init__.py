"""Ray's `experimental`: the parts of it that skate has. Each is imported when it is first used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skate.experimental import tqdm_ray as tqdm_ray

__all__ = ["tqdm_ray"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        return import_module(f"skate.experimental.{name}")
    from skate._ray_names import missing

    raise missing("skate.experimental", name)
