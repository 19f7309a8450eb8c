"""The version of the package, which stands in `Cargo.toml` alone."""

from skate import _native

__version__: str = _native.VERSION
