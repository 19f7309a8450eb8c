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


@dataclass
class Workload:
    """One question, and who can answer it.

    Attributes:
        name: Of the function; `theme` is that of its module.
        unit: Of the numbers; it says whether more or less is better.
        rows: Suffixes of the names of the rows, one for each number that a measurement gives.
        goal: What skate must reach, by row, in the unit.
        goal_of_floor: The same as a share of what the floor reaches in the same run (1: as good).
        fresh: Every measurement has an engine process of its own.
        session: Whether that process has called `init` before. None: `prepare` gets the engine's
            name, and starts the engine by itself.
        quick: Whether `--quick` includes it.
        repeat: At most so many measurements.
        needs: The module must have this attribute; otherwise the row is left out.
        params: Options of `init`.
    """

    name: str
    theme: str
    unit: str
    question: str
    prepare: Callable
    rows: tuple[str, ...] = ("",)
    goal: tuple[float | None, ...] = ()
    goal_of_floor: float | None = None
    fresh: bool = False
    session: bool | None = True
    quick: bool = True
    repeat: int = 7
    needs: str = ""
    params: dict = field(default_factory=dict)
    floor_text: str = ""
    others: dict[str, Callable] = field(default_factory=dict)

    def floor(self, text):
        """Registers what the floor does."""
        self.floor_text = text
        return lambda prepare: self.others.setdefault("floor", prepare)

    def peer(self):
        """Registers what concurrent.futures does."""
        return lambda prepare: self.others.setdefault("peer", prepare)

    def engines(self):
        """The engines that can answer."""
        return ("skate", "ray", *self.others)

    def prepared(self, engine, module):
        """The function that measures once."""
        return self.prepare(module) if engine in {"skate", "ray"} else self.others[engine]()

    def row_names(self):
        """One name for each number."""
        return [f"{self.name}_{row}" if row else self.name for row in self.rows]

    @property
    def more_is_better(self):
        """Rates grow; times and sizes shrink."""
        return self.unit.endswith("/s") or self.unit == "share"

    def times_better(self, ours, theirs):
        """How many times better ours is; above 1 it is."""
        ours, theirs = max(ours, 1e-12), max(theirs, 1e-12)
        return ours / theirs if self.more_is_better else theirs / ours


REGISTRY: dict[str, Workload] = {}
"""By name, in the order of the table."""


def workload(*, unit, question, goal=(), **options):
    """Declares the decorated function as the workload of that name."""
    goals = goal if isinstance(goal, tuple) else (goal,)

    def declare(prepare):
        name = prepare.__name__
        theme = prepare.__module__.rpartition(".")[2]
        declared = Workload(name, theme, unit, question, prepare, goal=goals, **options)
        REGISTRY[name] = declared
        return declared

    return declare
