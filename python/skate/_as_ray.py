"""`import ray` without Ray: a finder that answers for `ray` and all below it.

    import ray                 ─▶ a module `ray`, whose attributes are those of `skate`
    import ray.util.queue      ─▶ `skate.util.queue` itself, under one more name
    from ray import tune       ─▶ ImportError: one sentence, from the table of names
    find_spec("ray.tune")      ─▶ None, as for what is not installed

Invariant: a module below `ray` is the object that skate uses itself, so `ray.exceptions.X is
skate.exceptions.X`. The finder stands first in `sys.meta_path`: behind the finder of files it would
be too late, which would load files of skate a second time under the other name. An installed Ray is
put behind it only when asked by the word `shadow`, and one that was imported is never replaced.
Workers get the same finder before they unpickle anything (`_launch.hello`).
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any

_OFF = ("", "0", "false", "no")
_SHADOW = "shadow"
_NAMED_BY_FROM = ("skate.util.", "skate.experimental.")
"""`from ray.util import x` asks for `skate.util.x`: the module's own name is that."""


class RayModule(ModuleType):
    """The module `ray`: skate under that name, with Ray's version."""

    def __getattr__(self, name: str) -> Any:
        import skate

        return getattr(skate, name)

    def __reduce__(self) -> tuple[Any, ...]:
        from importlib import import_module

        return import_module, (self.__name__,)

    def __dir__(self) -> list[str]:
        import skate

        return sorted({*super().__dir__(), *skate.__all__})


class _Loader:
    """Gives the import system a module that is there already."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._own_spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module itself, or for `ray` one that stands before it."""
        if spec.name == "ray":
            from skate._ray_names import RAY_VERSION

            module = RayModule("ray", "skate, under the name that Ray's programs use.")
            module.__version__ = RAY_VERSION  # type: ignore[attr-defined] # a module may have any
            return module
        from importlib import import_module

        found = import_module(self._target)
        self._own_spec = found.__spec__
        return found

    def exec_module(self, module: ModuleType) -> None:
        """It was executed under its own name, which the import system has just overwritten."""
        if self._own_spec is not None:
            module.__spec__ = self._own_spec


class RayFinder:
    """Finds `ray` and its modules in skate.

    Attributes:
        shadow: Whether an installed Ray is to be hidden.
    """

    def __init__(self, *, shadow: bool) -> None:
        self.shadow = shadow

    def find_spec(
        self,
        name: str,
        _path: Sequence[str] | None = None,
        _target: ModuleType | None = None,
        /,
    ) -> ModuleSpec | None:
        """As the import system asks.

        Raises:
            ImportError: an `import` statement names something that skate does not have.
        """
        if name.startswith(_NAMED_BY_FROM):
            return self._refuse_missing(f"ray.{name.removeprefix('skate.')}", only_rows=True)
        if name != "ray" and not name.startswith("ray."):
            return None
        from importlib.machinery import ModuleSpec

        from skate._ray_names import MODULES

        if name == "ray" and not self.shadow:
            refuse_installed()
        where = MODULES.get(name)
        if where is not None:
            is_package = any(other.startswith(f"{name}.") for other in MODULES)
            return ModuleSpec(name, _Loader(where), is_package=is_package)  # type: ignore[arg-type]
        return self._refuse_missing(name)

    @staticmethod
    def _refuse_missing(name: str, *, only_rows: bool = False) -> None:
        """Whoever only looks (`importlib.util.find_spec`) gets None, as for what is not installed.

        An `import` gets the sentence, which a ModuleNotFoundError could not carry past a `from`.
        """
        if sys._getframe(3).f_code.co_name != "_find_and_load_unlocked":  # noqa: SLF001
            return
        from skate._ray_names import TABLE, sentence

        text = sentence(name) if name in TABLE or not only_rows else None
        if text is not None:
            raise ImportError(text, name=name)


def finder() -> RayFinder | None:
    """The one that is in place."""
    for each in sys.meta_path:
        if isinstance(each, RayFinder):
            return each
    return None


def install_as_ray(*, shadow: bool = False) -> None:
    """Makes `import ray` mean skate, in this process and in its workers, until the program ends.

    To be called before anything imports Ray, and before `init`. Twice is once.

    Args:
        shadow: Whether to do so although a Ray is installed here.

    Raises:
        ImportError: a Ray is installed, and `shadow` is not set; or it was imported already.
        RuntimeError: there is a session, whose workers would not know.
    """
    from skate import _session

    present = finder()
    if present is not None:
        present.shadow = present.shadow or shadow
        return
    if "ray" in sys.modules:
        where = getattr(sys.modules["ray"], "__file__", "?")
        msg = (
            f"Ray itself was imported already, from {where}: "
            "call skate.install_as_ray() before anything that imports it"
        )
        raise ImportError(msg, name="ray")
    if not shadow:
        refuse_installed()
    if _session.client is not None:
        msg = "there is a session already, whose workers would not know: call it before init()"
        raise RuntimeError(msg)
    sys.meta_path.insert(0, RayFinder(shadow=shadow))


def install_from_environment() -> None:
    """What `SKATE_AS_RAY` says. `skate_as_ray.pth` calls it when the interpreter starts.

    `1` is as `install_as_ray()`, but an installed Ray is an error only once `ray` is imported;
    `shadow` is as `install_as_ray(shadow=True)`.
    """
    from skate import _settings

    value = str(_settings.value("as_ray")).lower()
    if value not in _OFF and finder() is None and "ray" not in sys.modules:
        sys.meta_path.insert(0, RayFinder(shadow=value == _SHADOW))


def install_in_worker() -> None:
    """The driver has it: so does its worker, whatever is installed."""
    if finder() is None:
        sys.meta_path.insert(0, RayFinder(shadow=True))


def installed() -> str | None:
    """The file of a Ray that is installed here; None if there is none."""
    for each in sys.meta_path:
        find = getattr(each, "find_spec", None)
        if find is None or isinstance(each, RayFinder):
            continue
        spec = find("ray", None)
        # A directory that happens to be called `ray` is a package without a file: not Ray.
        if spec is not None and spec.origin is not None:
            return str(spec.origin)
    return None


def refuse_installed() -> None:
    """Raises ImportError if a Ray is installed, which is hidden only when that is asked for."""
    where = installed()
    if where is not None:
        msg = (
            f"Ray itself is installed ({where}), and skate does not hide it unasked: say "
            "skate.install_as_ray(shadow=True), `skate run --shadow` or SKATE_AS_RAY=shadow"
        )
        raise ImportError(msg, name="ray")
