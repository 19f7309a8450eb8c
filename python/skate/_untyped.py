"""What generic classes are at run time: plain ones. `typing` takes 10 ms to import.

Invariant: type checkers never see it; each module shows them a `Generic` in its place.
"""


class Untyped:
    """Takes type arguments and ignores them."""

    __slots__ = ()

    def __class_getitem__(cls, _item: object) -> type:
        return cls
