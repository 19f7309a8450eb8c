"""All workloads, by theme, in the order of the table."""

import importlib

from _workload import REGISTRY

__all__ = ["REGISTRY"]

for _theme in ("start", "tasks", "objects", "generators", "scale", "memory", "actors"):
    importlib.import_module(f"workloads.{_theme}")
