"""Counters, gauges and histograms of all processes, as text for Prometheus when somebody asks.

    worker ─ inc, set, observe ─▶ this process's changes ─ at most ten times a second ─▶ a collector
    driver ─ prometheus_text() ─▶ its own changes, then all of it as text

Invariant: an update is a lock and a dict entry, and may come from a finalizer in the midst of
another one; nothing is sent while a metric is at rest, and no port is open: whoever serves the text
(`http.server`, a sidecar) calls `prometheus_text()`. Changes are sent as differences, so the sums
are exact however many processes take part; batches of them are numbered, so that one whose sending
was interrupted is sent once more and counts once. A worker that leaves in order waits until its
last changes have arrived; one that is killed loses what it has not sent yet, a tenth of a second at
most.
"""

from __future__ import annotations

import contextlib
import re
import threading
from bisect import bisect_left
from collections import deque

import skate
from skate import _session
from skate._ids import worker_id
from skate.exceptions import RaySystemError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    Tags: TypeAlias = tuple[tuple[str, str], ...]
    Described: TypeAlias = tuple[str, str, tuple[float, ...]]
    Changes: TypeAlias = dict[tuple[str, Tags], list[float]]

_PERIOD_S = 0.1
_LEAVING_S = 5.0  # a worker that leaves waits for its numbers so long at most
_COLLECTOR, _NAMESPACE = "metrics", "skate.metrics"
_NAME = re.compile(r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")


class _Here:
    """What this process has not sent yet.

    Invariant: the lock is reentrant, for a finalizer may run at any allocation of the thread that
    has it. What it updates is left in `updates` for the call that it came into, so that `changes`
    are added up by one call at a time.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.sending = threading.RLock()  # whoever leaves waits for what the timer is sending
        self.updates: deque[tuple[Metric, Tags, list[float], bool]] = deque()
        self.described: dict[str, Described] = {}
        self.changes: Changes = {}
        self.batches = 0  # taken so far
        self.unsent: _Batch | None = None
        self.timer: threading.Timer | None = None
        self.is_adding_up = False
        self.is_at_exit = False

    def add(self, metric: Metric, tags: Tags, values: list[float], *, is_sum: bool) -> None:
        with self.lock:
            self.updates.append((metric, tags, values, is_sum))
            self._add_up()
        self._wake()

    def _add_up(self) -> None:
        if self.is_adding_up:
            return
        self.is_adding_up = True
        try:
            while self.updates:
                metric, tags, values, is_sum = self.updates.popleft()
                key = (metric.info["name"], tags)
                before = self.changes.get(key)
                if before is not None and is_sum:
                    values = [old + new for old, new in zip(before, values, strict=True)]
                self.changes[key] = values
                self.described[metric.info["name"]] = metric.described
        finally:
            self.is_adding_up = False

    def _wake(self) -> None:
        """Sees to it that what was added is sent."""
        if self.timer is not None or not skate.is_initialized():
            return
        self._at_exit()
        timer = threading.Timer(_PERIOD_S, _flush_in_time)
        timer.daemon = True
        try:
            self.timer = timer  # before it can be over
            timer.start()
        except BaseException:  # a KeyboardInterrupt, or no thread to be had: the next update's
            self.timer = None
            raise

    def _at_exit(self) -> None:
        client = _session.client
        if self.is_at_exit or client is None or client.is_driver:  # with a driver all numbers go
            return
        import atexit

        atexit.register(_flush_and_leave)
        self.is_at_exit = True

    def take(self) -> None:
        """Makes a batch of the changes, if there are any and no other one is to be sent."""
        batch = _Batch()
        with self.lock:
            if self.is_adding_up:  # a finalizer: whoever it came into goes on, and sends
                return
            # First the timer: who finds it there relies on what follows.
            timer, self.timer = self.timer, None
            if timer is not None:
                timer.cancel()
            self._add_up()
            if self.unsent is None and self.changes:
                # Nothing is called from here on, so an interrupt comes before or after all of it.
                batch.described, self.described = self.described, batch.described
                batch.changes, self.changes = self.changes, batch.changes
                self.batches += 1
                batch.number = self.batches
                self.unsent = batch

    def send(self) -> Any:
        """Sends the batch, if there is one, perhaps once more; the ref of its arrival."""
        batch, sent = self.unsent, None
        if batch is None:
            return None
        content = batch.number, batch.described, batch.changes
        if (client := _session.client) is not None:
            sent = _collector().add.remote(worker_id(client), *content)
        else:
            _alone.add("", *content)
        if self.unsent is batch:  # no finalizer has sent it meanwhile
            self.unsent = None
        return sent


class _Batch:
    """Changes that are sent together."""

    def __init__(self) -> None:
        self.number = 0
        self.described: dict[str, Described] = {}
        self.changes: Changes = {}


_here = _Here()


class Metric:
    """What counters, gauges and histograms share.

    Attributes:
        info: `name`, `description`, `tag_keys` and `default_tags`.
    """

    _kind = ""

    def __init__(
        self, name: str, description: str = "", tag_keys: Sequence[str] | None = None
    ) -> None:
        if not _NAME.match(name):
            msg = f"Invalid metric name: {name!r}: letters, digits, '_' and ':', no digit first"
            raise ValueError(msg)
        if isinstance(tag_keys, str) or any(type(key) is not str for key in tag_keys or ()):
            msg = f"tag_keys should be a tuple of str, got {tag_keys!r}"
            raise TypeError(msg)
        self.info: dict[str, Any] = {
            "name": name,
            "description": description,
            "tag_keys": tuple(tag_keys or ()),
            "default_tags": {},
        }

    @property
    def described(self) -> Described:
        """Kind, description and boundaries."""
        return self._kind, self.info["description"], ()

    def set_default_tags(self, default_tags: dict[str, str]) -> Metric:
        """Tags of all updates that do not name them.

        Raises:
            TypeError: a value is no str.
            ValueError: a key is not in `tag_keys`.
        """
        self._check(default_tags)
        self.info["default_tags"] = dict(default_tags)
        return self

    def _check(self, tags: dict[str, str]) -> None:
        for key, value in tags.items():
            if key not in self.info["tag_keys"]:
                msg = f"Unrecognized tag key {key}."
                raise ValueError(msg)
            if type(value) is not str:
                msg = f"Tag values must be str, got {type(value)}."
                raise TypeError(msg)

    def _tags(self, tags: dict[str, str] | None) -> Tags:
        self._check(tags or {})
        merged = {**self.info["default_tags"], **(tags or {})}
        absent = [key for key in self.info["tag_keys"] if key not in merged]
        if absent:
            msg = f"Missing value for tag key(s): {','.join(absent)}."
            raise ValueError(msg)
        return tuple(sorted(merged.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.__dict__)


def _restore(kind: type[Metric], state: dict[str, Any]) -> Metric:
    metric = kind.__new__(kind)
    metric.__dict__.update(state)
    return metric


class Counter(Metric):
    """A number that only grows."""

    _kind = "counter"

    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        """Adds to it.

        Raises:
            ValueError: the value is not above 0, or a tag is missing or unknown.
        """
        if value <= 0:
            msg = f"value must be >0, got {value}"
            raise ValueError(msg)
        _here.add(self, self._tags(tags), [value], is_sum=True)


class Gauge(Metric):
    """A number that goes up and down; the last one counts."""

    _kind = "gauge"

    def set(self, value: float | None, tags: dict[str, str] | None = None) -> None:
        """Sets it; None changes nothing."""
        if value is not None:
            _here.add(self, self._tags(tags), [float(value)], is_sum=False)


class Histogram(Metric):
    """How many values were at most as large as each boundary."""

    _kind = "histogram"

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        if not boundaries:
            msg = "boundaries argument should be provided when using the Histogram class"
            raise ValueError(msg)
        if min(boundaries) <= 0:
            msg = f"Invalid `boundaries` argument, values should be positive: {boundaries}"
            raise ValueError(msg)
        self.boundaries = sorted(map(float, boundaries))
        self.info["boundaries"] = self.boundaries

    @property
    def described(self) -> Described:
        """Kind, description and boundaries."""
        return self._kind, self.info["description"], tuple(self.boundaries)

    def observe(self, value: float, tags: dict[str, str] | None = None) -> None:
        """Counts a value."""
        row = [0.0] * (len(self.boundaries) + 2)  # the last: their sum
        row[bisect_left(self.boundaries, value)] = 1
        row[-1] = value
        _here.add(self, self._tags(tags), row, is_sum=True)


class _Collector:
    """All that was sent. An actor; or, without a session, an object."""

    def __init__(self) -> None:
        self.described: dict[str, Described] = {}
        self.values: Changes = {}
        self.numbers: dict[str, int] = {}  # of the last batch of each sender

    def add(
        self, sender: str, number: int, described: dict[str, Described], changes: Changes
    ) -> None:
        if number <= self.numbers.get(sender, 0):  # its sender could not know that it had come
            return
        self.numbers[sender] = number
        self.described.update(described)
        for key, change in changes.items():
            before = self.values.get(key)
            if before is not None and self.described[key[0]][0] != "gauge":
                change = [old + new for old, new in zip(before, change, strict=True)]  # noqa: PLW2901
            self.values[key] = change

    def text(self) -> str:
        lines: list[str] = []
        for name, (kind, description, boundaries) in sorted(self.described.items()):
            lines += [f"# HELP {name} {_escape(description)}", f"# TYPE {name} {kind}"]
            for (owner, tags), values in sorted(self.values.items()):
                if owner == name:
                    lines += _lines(name, tags, values, boundaries, kind)
        return "\n".join(lines) + "\n" if lines else ""


def _lines(
    name: str, tags: Tags, values: list[float], boundaries: Sequence[float], kind: str
) -> list[str]:
    if kind != "histogram":
        return [f"{name}{_labels(tags)} {_number(values[0])}"]
    lines, count = [], 0.0
    for bound, here in zip([*map(_number, boundaries), "+Inf"], values[:-1], strict=True):
        count += here
        lines.append(f"{name}_bucket{_labels((*tags, ('le', bound)))} {_number(count)}")
    lines.append(f"{name}_sum{_labels(tags)} {_number(values[-1])}")
    lines.append(f"{name}_count{_labels(tags)} {_number(count)}")
    return lines


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _labels(tags: Tags) -> str:
    if not tags:
        return ""
    inner = ",".join(f'{key}="{_escape(value)}"' for key, value in tags)
    return "{" + inner + "}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


_alone = _Collector()


def _collector() -> Any:
    made = skate.remote(_Collector).options(
        name=_COLLECTOR,
        namespace=_NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
    )
    return made.remote()


def flush() -> Any:
    """Sends what this process has not sent yet. Returns a ref that is ready when it has arrived.

    Happens by itself a tenth of a second after an update.
    """
    with _here.sending:
        earlier = _here.send()  # what an interrupt may have left
        _here.take()
        return _here.send() or earlier


def _flush_in_time() -> None:
    with contextlib.suppress(RaySystemError):  # the session has ended meanwhile
        flush()


def _flush_and_leave() -> None:
    # A call in any case: when it has been answered, those that were sent before have arrived.
    with contextlib.suppress(Exception):  # the session may be gone
        flush()
        skate.get(_collector().__ray_ready__.remote(), timeout=_LEAVING_S)


def prometheus_text() -> str:
    """All metrics that have a value, in Prometheus's text format, sorted by name and tags."""
    sent = flush()
    if not skate.is_initialized():
        return _alone.text()
    if sent is not None:
        skate.get(sent)
    text: str = skate.get(_collector().text.remote())
    return text
