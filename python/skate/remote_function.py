"""Remote functions: Ray's module of that name."""

from skate._remote_function import RemoteFunction

__all__ = ["RemoteFunction"]
