"""Ray's module of that name: `free`."""

from skate._private.internal_api import free

__all__ = ["free"]
