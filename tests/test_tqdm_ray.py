"""Progress bars of workers appear on the driver."""

import os
import re
import sys

import pytest

from skate.experimental import tqdm_ray


def test_a_bar_shows_the_first_and_the_last_state(capsys):
    assert list(tqdm_ray.tqdm([1, 2, 3, 4], desc="work", flush_interval_s=3600)) == [1, 2, 3, 4]
    assert capsys.readouterr().err == "work:  25 % 1/4 it\nwork: 100 % 4/4 it\n"


def test_each_update_is_shown_when_the_interval_is_over(capsys):
    with tqdm_ray.tqdm(total=2, flush_interval_s=0, unit="file") as bar:
        bar.update()
        bar.set_description("second")
        bar.update(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [" 50 % 1/2 file", "second:  50 % 1/2 file", "second: 100 % 2/2 file"]


def test_without_a_total_it_counts(capsys):
    assert sum(1 for _ in tqdm_ray.tqdm(iter("ab"), flush_interval_s=0)) == 2
    assert capsys.readouterr().err == "1 it\n2 it\n"


def test_what_cannot_say_its_length_is_counted(capsys):
    class Wrapper:
        def __len__(self):
            raise TypeError("what it wraps has none")

        def __iter__(self):
            return iter("ab")

    assert list(tqdm_ray.tqdm(Wrapper(), flush_interval_s=0)) == ["a", "b"]
    assert capsys.readouterr().err == "1 it\n2 it\n"


def test_a_bar_over_nothing_says_so():
    with pytest.raises(ValueError, match="nothing to iterate over"):
        list(tqdm_ray.tqdm(total=3))


class Amount:
    """A number as numpy's: neither int nor float."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return self.value


class Count(Amount):
    def __index__(self):
        return self.value


def test_numbers_of_other_libraries_count(capsys):
    with tqdm_ray.tqdm(total=Count(4), flush_interval_s=0) as bar:
        bar.update(Count(1))
        bar.update(Amount(0.5))
    assert capsys.readouterr().err == " 25 % 1/4 it\n 37 % 1.5/4 it\n"


def test_what_is_no_number_is_refused(capsys):
    with pytest.raises(TypeError, match="update is '3', but must be a number"):
        tqdm_ray.tqdm().update("3")
    with pytest.raises(TypeError, match="total is '3', but must be a number"):
        tqdm_ray.tqdm(total="3").refresh()
    assert not capsys.readouterr().err


def test_bars_of_tasks_are_shown_by_the_driver(fresh, capfd):
    def work():
        for _ in tqdm_ray.trange(3, desc="inside"):
            pass
        tqdm_ray.tqdm(total=2, desc="counted").update(Count(1))  # no JSON
        return "done"

    fresh.init(num_cpus=1)
    assert fresh.get(fresh.remote(work).remote()) == "done"
    fresh.shutdown()
    sys.stderr.flush()
    shown = capfd.readouterr().err
    assert "inside: 100 % 3/3 it" in shown
    assert "counted:  50 % 1/2 it" in shown


def test_a_bar_of_a_task_is_few_lines_where_there_is_no_terminal(fresh, capfd):
    def work():
        for _ in tqdm_ray.tqdm(range(1000), desc="inside", flush_interval_s=0):
            pass

    fresh.init(num_cpus=1)
    fresh.get(fresh.remote(work).remote())
    fresh.shutdown()
    sys.stderr.flush()
    lines = [line.partition(") ")[2] for line in capfd.readouterr().err.splitlines()]
    assert [lines[0], lines[-1]] == ["inside:   0 % 1/1000 it", "inside: 100 % 1000/1000 it"]
    assert len(lines) < 10


TERMINAL = """
import skate
from skate.experimental import tqdm_ray

@skate.remote
def work(name, gate):
    with tqdm_ray.tqdm(total=4, desc=name, flush_interval_s=0) as bar:
        bar.update(2)
        print(f"{name} has begun")
        if gate:
            open(gate).read()
        bar.update(2)

@skate.remote
def dies():
    tqdm_ray.tqdm(total=9, desc="dead", flush_interval_s=0).update(3)
    import os
    os.kill(os.getpid(), 9)

skate.init(num_cpus=2)
refs = [work.remote("one", GATE), work.remote("two", None)]
skate.get(refs[1])
print("two is done", flush=True)
open(GATE, "w").close()
skate.get(refs[0])
skate.wait([dies.options(max_retries=0).remote()])
skate.shutdown()
print("all is done", flush=True)
"""


@pytest.mark.processes("a program in a terminal")
def test_bars_of_tasks_are_bars_on_a_terminal(tmp_path):
    pexpect = pytest.importorskip("pexpect")
    pytest.importorskip("tqdm")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    path = tmp_path / "prog.py"
    path.write_text(TERMINAL.replace("GATE", repr(str(gate))))
    program = pexpect.spawn(sys.executable, [str(path)], timeout=30, dimensions=(40, 100))
    text = program.read().decode()
    program.close()
    assert program.exitstatus == 0, text
    for name in ("one", "two"):
        assert re.search(rf"\(work pid=\d+\)\S* {name}:  50%\|[█-▏]+ +\| 2/4", text), text
        assert re.search(rf"\(work pid=\d+\)\S* {name}: 100%\|[█-▏]+\| 4/4", text), text
        assert re.search(rf"\(work pid=\d+\)\S* {name} has begun\r\n", text), text
    assert re.search(r"dead:  33%\|███", text), text
    assert text.rstrip().endswith("all is done")
