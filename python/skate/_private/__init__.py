"""Ray's package of that name: of all that is internal to Ray, what older programs import."""

from skate._private import internal_api

__all__ = ["internal_api"]
