"""Types for annotations: Ray's module of that name."""

from skate._native import ObjectRef

__all__ = ["ObjectRef"]
