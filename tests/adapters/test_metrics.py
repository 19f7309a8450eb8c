"""`util.metrics`: numbers of all processes, as Prometheus reads them."""

import contextlib
import itertools
import threading

import pytest
from handlers import raising

from skate import _actor_handle
from skate.util import metrics


@pytest.fixture(autouse=True)
def session(fresh):
    fresh.init(num_cpus=2)
    return fresh


def lines(name):
    return [line for line in metrics.prometheus_text().splitlines() if name in line]


def test_counters_of_all_processes_add_up(session):
    counter = metrics.Counter("calls", "How many calls.", tag_keys=("who",))

    @session.remote
    def work(n):
        for _ in range(n):
            counter.inc(tags={"who": "worker"})
        session.get(metrics.flush())

    counter.inc(2.5, tags={"who": "driver"})
    session.get([work.remote(n) for n in (1, 2, 3)])
    assert lines("calls") == [
        "# HELP calls How many calls.",
        "# TYPE calls counter",
        'calls{who="driver"} 2.5',
        'calls{who="worker"} 6',
    ]


def test_updates_arrive_by_themselves(session):
    """Nobody flushes: the driver asks until the worker's timer has sent its change."""
    gauge = metrics.Gauge("level")

    @session.remote
    def work():
        gauge.set(7)

    session.get(work.remote())
    while not lines("level"):
        pass
    assert lines("level")[-1] == "level 7"


def test_a_worker_that_leaves_sends_its_numbers_first(session):
    """They were lost if it left within the tenth of a second that an update may wait."""
    counter = metrics.Counter("left")

    @session.remote
    class Actor:
        def work(self):
            counter.inc()

    @session.remote(max_calls=1)
    def work():
        counter.inc()

    actor = Actor.remote()
    session.get([actor.work.remote(), work.remote()])
    del actor
    while lines("left")[-1:] != ["left 2"]:
        pass


def test_the_session_may_end_while_numbers_are_sent(session, monkeypatch):
    """That was an error in the timer's thread."""

    def collector():
        session.shutdown()
        raise session.exceptions.RaySystemError("it has ended")

    monkeypatch.setattr(metrics, "_collector", collector)
    metrics.Counter("late").inc()
    timer = metrics._here.timer
    if timer is not None:  # else it runs, or has run
        timer.join()
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()
    assert not session.is_initialized()


@pytest.fixture
def _alone(monkeypatch):
    """What breaks here, breaks no other test."""
    monkeypatch.setattr(metrics, "_here", metrics._Here())


@pytest.mark.usefixtures("_alone")
def test_a_finalizer_may_update_in_the_midst_of_an_update():
    """It waited for ever for the lock that its own thread had."""
    counter = metrics.Counter("freed")

    class Finalizes(float):
        """Is added as if the collector had run then, which it may at any allocation."""

        def __radd__(self, other):
            counter.inc(10)
            metrics.flush()
            return float(self) + other

    def work():
        counter.inc(1)
        counter.inc(Finalizes(100))
        counter.inc(1000)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert lines("freed")[-1] == "freed 1111"


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("why", [KeyboardInterrupt, RuntimeError])
def test_a_timer_that_was_not_started_is_not_relied_on(session, monkeypatch, why):
    """It was taken for one that would send: nothing of that process was sent any more."""

    def refuse(_timer):
        raise why

    counter = metrics.Counter("late")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Timer, "start", refuse)
        with pytest.raises(why):
            counter.inc()
    counter.inc()
    timer = metrics._here.timer
    if timer is not None:  # else it has sent, or is about to
        timer.join()
    with metrics._here.sending:
        sent = metrics._collector().text.remote()
    assert "late 2" in session.get(sent)


@pytest.mark.usefixtures("_alone")
def test_an_interrupt_while_numbers_are_told_loses_none():
    """What had been taken to be sent was lost."""

    def is_meant(code):
        return code.co_filename in {metrics.__file__, _actor_handle.__file__}

    counter = metrics.Counter("told")
    for place in itertools.count(1):
        counter.inc()
        with (
            contextlib.suppress(KeyboardInterrupt),
            raising(KeyboardInterrupt, place, is_meant) as reached,
        ):
            metrics.prometheus_text()
        assert lines("told")[-1] == f"told {place}"
        if not reached:
            break
    assert place > 20


def test_the_last_value_of_a_gauge_counts():
    gauge = metrics.Gauge("level", tag_keys=("a",)).set_default_tags({"a": "x"})
    for value in (1, 5, 3, None):
        gauge.set(value)
    assert lines("level")[-1] == 'level{a="x"} 3'


def test_a_histogram_counts_what_is_at_most_its_boundary():
    histogram = metrics.Histogram("time", boundaries=[1, 0.5])
    for value in (0.25, 0.5, 0.75, 9):
        histogram.observe(value)
    assert lines("time")[2:] == [
        'time_bucket{le="0.5"} 2',
        'time_bucket{le="1"} 3',
        'time_bucket{le="+Inf"} 4',
        "time_sum 10.5",
        "time_count 4",
    ]


def test_what_is_special_is_escaped():
    counter = metrics.Counter("odd", 'a "b"\nc', tag_keys=("k",))
    counter.inc(tags={"k": 'x"\\\ny'})
    assert lines("odd")[-1] == 'odd{k="x\\"\\\\\\ny"} 1'


def test_without_a_session_numbers_of_this_process_are_there(session):
    session.shutdown()
    metrics.Counter("alone").inc()
    assert lines("alone")[-1] == "alone 1"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: metrics.Counter("with space"),
        lambda: metrics.Counter("a", tag_keys="abc"),
        lambda: metrics.Counter("a").inc(0),
        lambda: metrics.Counter("a").inc(tags={"b": "c"}),
        lambda: metrics.Counter("a", tag_keys=("b",)).inc(),
        lambda: metrics.Counter("a", tag_keys=("b",)).inc(tags={"b": 1}),
        lambda: metrics.Histogram("a"),
        lambda: metrics.Histogram("a", boundaries=[0, 1]),
    ],
)
def test_wrong_use_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        wrong()
