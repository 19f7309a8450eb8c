"""The version of the package; `Cargo.toml` and `pyproject.toml` say the same."""

__version__ = "0.1.0"
