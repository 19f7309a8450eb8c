"""What type checkers know of a call: each argument may be of its type, or a ref of that type.

    f: (x: int, y: str = "") -> float     f.remote(1, "a")        as the function itself
                                          f.remote(ref, "a")      ref: ObjectRef[int]
                                          f.remote(1, y=ref)      named: any ref
                                          f.remote("a")           an error

Nothing of it exists at run time. A parameter list cannot be mapped as a whole, so up to five
positional parameters are taken one by one, by protocols that the call itself fits; what is given by
name beside a ref is not checked.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, overload

    from skate._native import ObjectRef

    T = TypeVar("T")
    P = ParamSpec("P")
    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)
    A = TypeVar("A")
    B = TypeVar("B")
    C = TypeVar("C")
    D = TypeVar("D")
    E = TypeVar("E")
    A_contra = TypeVar("A_contra", contravariant=True)
    B_contra = TypeVar("B_contra", contravariant=True)
    C_contra = TypeVar("C_contra", contravariant=True)
    D_contra = TypeVar("D_contra", contravariant=True)
    E_contra = TypeVar("E_contra", contravariant=True)
    Ref: TypeAlias = ObjectRef[T]

    class _Takes1(Protocol[A_contra, R_co]):
        def _plain(self, a: A_contra, /) -> R_co: ...

    class _Takes2(Protocol[A_contra, B_contra, R_co]):
        def _plain(self, a: A_contra, b: B_contra, /) -> R_co: ...

    class _Takes3(Protocol[A_contra, B_contra, C_contra, R_co]):
        def _plain(self, a: A_contra, b: B_contra, c: C_contra, /) -> R_co: ...

    class _Takes4(Protocol[A_contra, B_contra, C_contra, D_contra, R_co]):
        def _plain(self, a: A_contra, b: B_contra, c: C_contra, d: D_contra, /) -> R_co: ...

    class _Takes5(Protocol[A_contra, B_contra, C_contra, D_contra, E_contra, R_co]):
        def _plain(
            self, a: A_contra, b: B_contra, c: C_contra, d: D_contra, e: E_contra, /
        ) -> R_co: ...

    class _From1(Protocol[A_contra, R_co]):
        def _plain(self, a: A_contra, /, *args: Any, **kwargs: Any) -> R_co: ...

    class _From2(Protocol[A_contra, B_contra, R_co]):
        def _plain(self, a: A_contra, b: B_contra, /, *args: Any, **kwargs: Any) -> R_co: ...

    class _From3(Protocol[A_contra, B_contra, C_contra, R_co]):
        def _plain(
            self, a: A_contra, b: B_contra, c: C_contra, /, *args: Any, **kwargs: Any
        ) -> R_co: ...

    class _From4(Protocol[A_contra, B_contra, C_contra, D_contra, R_co]):
        def _plain(
            self, a: A_contra, b: B_contra, c: C_contra, d: D_contra, /, *args: Any, **kwargs: Any
        ) -> R_co: ...

    class Call(Generic[P, R_co]):
        """`f.remote`, where `f` takes `P` and a call gives `R_co`."""

        def _plain(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
        @overload
        def __call__(self: _Takes1[A, R], a: A | Ref[A], /) -> R: ...
        @overload
        def __call__(self: _Takes2[A, B, R], a: A | Ref[A], b: B | Ref[B], /) -> R: ...
        @overload
        def __call__(
            self: _Takes3[A, B, C, R], a: A | Ref[A], b: B | Ref[B], c: C | Ref[C], /
        ) -> R: ...
        @overload
        def __call__(
            self: _Takes4[A, B, C, D, R],
            a: A | Ref[A],
            b: B | Ref[B],
            c: C | Ref[C],
            d: D | Ref[D],
            /,
        ) -> R: ...
        @overload
        def __call__(
            self: _Takes5[A, B, C, D, E, R],
            a: A | Ref[A],
            b: B | Ref[B],
            c: C | Ref[C],
            d: D | Ref[D],
            e: E | Ref[E],
            /,
        ) -> R: ...
        @overload
        def __call__(self: _From1[A, R], a: A | Ref[A], /, **kwargs: Any) -> R: ...
        @overload
        def __call__(
            self: _From2[A, B, R], a: A | Ref[A], b: B | Ref[B], /, **kwargs: Any
        ) -> R: ...
        @overload
        def __call__(
            self: _From3[A, B, C, R], a: A | Ref[A], b: B | Ref[B], c: C | Ref[C], /, **kwargs: Any
        ) -> R: ...
        @overload
        def __call__(
            self: _From4[A, B, C, D, R],
            a: A | Ref[A],
            b: B | Ref[B],
            c: C | Ref[C],
            d: D | Ref[D],
            /,
            **kwargs: Any,
        ) -> R: ...
        @overload
        def __call__(self, **kwargs: Any) -> R_co: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...  # type: ignore[misc] # it does
