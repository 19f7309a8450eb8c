"""`progress` gives refs as they get ready, beside a bar of whatever kind is installed."""

import builtins
import sys

import pytest


@pytest.fixture
def plain(monkeypatch):
    """Neither tqdm nor rich is installed."""
    imports = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] in {"tqdm", "rich"}:
            raise ImportError(name)
        return imports(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)


@pytest.fixture
def square(skate):
    return skate.remote(lambda x: x * x)


def test_every_ref_comes_once_and_the_last_line_is_complete(skate, square, plain, capsys):
    refs = [square.remote(x) for x in range(20)]
    values = [skate.get(ref) for ref in skate.util.progress(refs, "squares")]
    assert sorted(values) == [x * x for x in range(20)]
    assert capsys.readouterr().err.splitlines()[-1] == "squares: 100 % 20/20 it"


def test_the_first_that_is_ready_comes_first(skate, gate, plain):
    @skate.remote
    def waits(path):
        return path.read_bytes() == b""

    @skate.remote
    def at_once():
        return "now"

    slow, fast = waits.remote(gate), at_once.remote()
    shown = skate.util.progress([slow, fast])
    assert next(shown) == fast
    gate.write_bytes(b"")
    assert list(shown) == [slow]


def test_a_stream_comes_in_its_order_and_is_counted(skate, plain, capsys):
    @skate.remote
    def items():
        yield from "abc"

    shown = skate.util.progress(items.remote(), unit="letter")
    assert [skate.get(ref) for ref in shown] == ["a", "b", "c"]
    assert capsys.readouterr().err.splitlines()[-1] == "3 letter"


def test_a_loop_that_is_left_closes_the_bar(skate, square, plain, capsys):
    shown = skate.util.progress([square.remote(x) for x in range(3)], "work")
    next(shown)
    shown.close()
    assert capsys.readouterr().err.splitlines()[-1] == "work:   0 % 0/3 it"


def test_tqdm_draws_the_bar_where_it_is_installed(skate, square, capsys):
    pytest.importorskip("tqdm")
    refs = [square.remote(x) for x in range(3)]
    assert len(list(skate.util.progress(refs, "squares"))) == 3
    assert "squares: 100%" in capsys.readouterr().err


def test_rich_draws_the_bar_where_only_that_is_installed(skate, square, monkeypatch, capsys):
    pytest.importorskip("rich")
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    refs = [square.remote(x) for x in range(3)]
    assert len(list(skate.util.progress(refs, "squares"))) == 3
    assert "squares" in capsys.readouterr().out


@pytest.mark.parametrize(("wrong", "match"), [(1, "iterable"), ([1], "one is of int")])
def test_anything_else_is_refused(skate, wrong, match):
    with pytest.raises(TypeError, match=match):
        skate.util.progress(wrong)


def test_a_single_ref_is_refused_with_the_reason(skate, square):
    with pytest.raises(TypeError, match="a single ref has no progress"):
        skate.util.progress(square.remote(1))


def test_lines_of_workers_stay_above_a_bar(capsys):
    tqdm = pytest.importorskip("tqdm")
    from skate._display import LINE, Display

    display = Display()
    with tqdm.tqdm(total=7, mininterval=0):
        drawn = capsys.readouterr().err
        display.show(LINE, (False, 4711, "f", "hello"))
        display.flush()
        out, err = capsys.readouterr()
    assert out == "(f pid=4711) hello\n"
    assert drawn.count("0/7") == 1
    assert err.startswith("\r ")  # the bar is taken away
    assert err.count("0/7") == 1  # and drawn again below the line
