"""What is measured: a question, a unit, and one small function per engine.

    @workload(unit="µs", question="How long does ... take?")
    def roundtrip(ray):            # prepares; `ray` is skate or Ray, with a session of two CPUs
        ...
        def measure():             # one measurement, in the unit; called several times
            ...
        return measure

    @roundtrip.floor("what the floor does")
    def _():                       # the same question to plain Python, C or the kernel
        ...
        return measure

Invariant: `measure` does the whole work every time it is called, so medians of several calls mean
something; what must happen only once per process is a workload with `fresh=True`. A workload with
several `rows` returns one number for each, in their order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

ENGINES = ("skate", "ray", "floor", "peer")
"""`ray` when it can be imported; `floor` does the unavoidable; `peer` is concurrent.futures."""


class UnsupportedError(Exception):
    """The engine does not offer what is to be measured."""


@dataclass
class Workload:
    """One question, and who can answer it.

    Attributes:
        name: Of the function; `theme` is that of its module.
        units: Of the numbers; they say whether more or less is better.
        rows: Suffixes of the names of the rows, one for each number that a measurement gives.
        goal: What skate must reach, by row, in the unit.
        goal_of_floor: The same as a share of what the floor reaches in the same run (1: as good).
        fresh: Every measurement has an engine process of its own.
        session: Whether that process has called `init` before. None: `prepare` gets the engine's
            name, and starts the engine by itself.
        quick: Whether `--quick` includes it.
        ray: Whether Ray is asked, too; some sizes would take it hours.
        repeat: At most so many measurements.
        needs: The module must have this attribute; otherwise the row is left out.
        params: Options of `init`.
    """

    name: str
    theme: str
    units: tuple[str, ...]
    question: str
    prepare: Callable
    rows: tuple[str, ...] = ("",)
    goal: tuple[float | None, ...] = ()
    goal_of_floor: float | None = None
    fresh: bool = False
    session: bool | None = True
    quick: bool = True
    ray: bool = True
    repeat: int = 7
    needs: str = ""
    params: dict = field(default_factory=dict)
    floor_text: str = ""
    others: dict[str, Callable] = field(default_factory=dict)

    def __str__(self):
        names, units = ", ".join(self.row_names()), ", ".join(dict.fromkeys(self.units))
        return f"{self.theme:10}  {names} [{units}]: {self.question}"

    def floor(self, text):
        """Registers what the floor does."""
        self.floor_text = text
        return lambda prepare: self.others.setdefault("floor", prepare)

    def peer(self):
        """Registers what concurrent.futures does."""
        return lambda prepare: self.others.setdefault("peer", prepare)

    def engines(self):
        """The engines that can answer."""
        return ("skate", *(["ray"] if self.ray else []), *self.others)

    def prepared(self, engine, module):
        """The function that measures once."""
        if engine not in {"skate", "ray"}:
            return self.others[engine]()
        if self.needs and not hasattr(module, self.needs):
            raise UnsupportedError(f"{engine} has no {self.needs} yet")
        return self.prepare(module)

    def row_names(self):
        """One name for each number."""
        return [f"{self.name}_{row}" if row else self.name for row in self.rows]


REGISTRY: dict[str, Workload] = {}
"""By name, in the order of the table."""


def is_more_better(unit):
    """Rates grow; times and sizes shrink."""
    return unit.endswith("/s") or unit == "share"


def workload(*, unit, question, goal=(), **options):
    """Declares the decorated function as the workload of that name."""
    goals = goal if isinstance(goal, tuple) else (goal,)
    units = unit if isinstance(unit, tuple) else (unit,) * len(options.get("rows", ("",)))

    def declare(prepare):
        name = prepare.__name__
        theme = prepare.__module__.rpartition(".")[2]
        declared = Workload(name, theme, units, question, prepare, goal=goals, **options)
        REGISTRY[name] = declared
        return declared

    return declare
