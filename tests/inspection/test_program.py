"""5.10: the program `skate` shows a running driver from outside, and refuses in one line."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes("it looks at drivers from other processes")


def said(ran):
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return json.loads(ran.stdout)


def refusal(ran):
    """The one line of a refusal."""
    assert ran.returncode == 2, ran.stdout
    assert ran.stdout == ""
    [line] = ran.stderr.splitlines()
    return line


def test_list_shows_rows_for_people_and_for_programs(start, skate_program):
    driver = start("skate.get([f.remote(k) for k in range(5)])\n")
    ran = skate_program("list", "tasks", "--pid", driver.pid, "--filter", "state=finished")
    lines = ran.stdout.splitlines()
    assert lines[0].split()[:3] == ["TASK", "ID", "NAME"]
    assert lines[-1] == "5 of 5 tasks"
    rows = said(skate_program("list", "tasks", "--pid", driver.pid, "--json", "--limit", 2))
    assert [(row["name"], row["state"]) for row in rows] == [("f", "FINISHED")] * 2
    assert rows[0]["required_resources"] == {"CPU": 1}
    row = said(skate_program("get", "task", rows[0]["task_id"], "--pid", driver.pid, "--json"))
    assert row == rows[0]


@pytest.mark.parametrize(
    "table", ["actors", "objects", "workers", "streams", "placement-groups", "nodes", "jobs"]
)
def test_each_table_can_be_listed(start, skate_program, table):
    driver = start("stream = numbers.remote(9)\n")
    rows = said(skate_program("list", table, "--pid", driver.pid, "--json"))
    assert bool(rows) == (table not in {"actors", "placement-groups"})
    assert skate_program("list", table, "--pid", driver.pid, "--detail").returncode == 0


def test_status_names_each_driver(start, skate_program):
    one, other = start(), start()
    shown = {row["pid"]: row for row in said(skate_program("status", "--json"))}
    assert {one.pid, other.pid} <= set(shown)
    assert shown[one.pid]["resources"]["CPU"]["total"] == 2
    assert f"driver {one.pid}: " in skate_program("status").stdout
    assert f"driver {other.pid}" not in skate_program("status", "--pid", one.pid).stdout


def test_summary_and_memory(start, skate_program):
    driver = start(
        "import numpy as np\nref = skate.put(np.zeros(1 << 20))\nview = skate.get(ref)\n"
    )
    counted = said(skate_program("summary", "objects", "--pid", driver.pid, "--json"))
    assert counted["summary"]["STORE"]["total_objects"] == 1
    text = skate_program("memory", "--pid", driver.pid).stdout
    assert f"1 refs of pid {driver.pid}; 1 views of pid {driver.pid}" in text
    assert "8.0 MiB" in text
    assert "total objects: 1" in skate_program("summary", "objects", "--pid", driver.pid).stdout


def test_why_follows_the_driver(start, skate_program, tmp_path):
    os.mkfifo(tmp_path / "gate")
    driver = start(
        "never = f.options(resources={'mars': 1}).remote()\n"
        "import threading\n"
        "threading.Thread(target=skate.get, args=(never,), daemon=True).start()\n"
        "while not skate.statistics().requests: time.sleep(.01)\n"
    )
    steps = said(skate_program("why", "--pid", driver.pid, "--json"))
    assert [step["reason"] for step in steps] == ["GET", "NOT_MADE", "INFEASIBLE"]
    text = skate_program("why", steps[1]["id"], "--pid", driver.pid).stdout
    assert text.splitlines()[0] == "the value of f is not made yet"
    assert "this machine has mars 0" in text


def test_timeline_is_written_where_it_is_asked_for(start, skate_program, tmp_path):
    driver = start("skate.get([f.remote(k) for k in range(5)])\n")
    path = tmp_path / "trace.json"
    ran = skate_program("timeline", path, "--pid", driver.pid)
    assert f"events in {path}" in ran.stdout
    names = [event["name"] for event in json.loads(path.read_text())["traceEvents"]]
    assert names.count("f") == 5
    line = refusal(skate_program("timeline", tmp_path / "no" / "t.json", "--pid", driver.pid))
    assert line.endswith("No such file or directory")


def test_doctor_starts_a_session_and_says_where_settings_come_from(skate_program):
    report = json.loads(skate_program("doctor", "--json", SKATE_NUM_CPUS="3").stdout)
    assert report["session"]["starts"]
    assert report["session"]["cpus"] == 3
    [row] = [row for row in report["settings"] if row["name"] == "num_cpus"]
    assert (row["value"], row["from"]) == ("3", "SKATE_NUM_CPUS")
    assert report["versions"]["skate"]
    text = skate_program("doctor", SKATE_NUM_CPUS="some")
    assert text.returncode == 1
    assert "wrong: no session starts: SKATE_NUM_CPUS='some' must be a number" in text.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["list", "tsaks"], "there is no table 'tsaks'; there are tasks, actors"),
        (["list", "tasks", "--filter", "state"], "'state' is no condition: expected KEY=VALUE"),
        (["list", "tasks", "--limit", "many"], "invalid int value: 'many'"),
        (["list"], "the following arguments are required: TABLE"),
        (["top", "--interval", "0"], "invalid _interval value: '0'"),
        (["top", "--interval", "inf"], "invalid _interval value: 'inf'"),
        (["sumary"], "invalid choice: 'sumary'"),
        (["get", "task"], "the following arguments are required: ID"),
        (["list", "tasks", "--pid", "1"], "there is no driver 1: no process of yours"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(skate_program, arguments, expected):
    assert expected in refusal(skate_program(*arguments))


def test_interrupt_is_an_exit_code_and_no_traceback(monkeypatch, capsys):
    """Ctrl-C while a stopped driver was waited for showed where skate waited."""
    from skate import cli
    from skate.cli import list as listing
    from skate.cli import run

    def interrupted(_parsed):
        raise KeyboardInterrupt

    for module in (listing, run):
        monkeypatch.setattr(module, "main", interrupted)
    assert cli.main(["list", "tasks"]) == 130
    assert capsys.readouterr() == ("", "")
    with pytest.raises(KeyboardInterrupt):  # of the program, which `python` would show
        cli.main(["run", "prog.py"])


def test_terminal_of_few_characters_is_shown_the_others_as_numbers(start, skate_program):
    """It ended with a UnicodeEncodeError."""
    ran = skate_program("stack", "--pid", start().pid, PYTHONIOENCODING="ascii")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(r"\u2500\u2500 driver")


def test_check_refuses_a_program_that_is_nested_too_deeply(skate_program, tmp_path):
    path = tmp_path / "sum.py"
    path.write_text("import ray\n" + "+".join("1" * 5_000))
    assert "sum.py is nested too deeply" in refusal(skate_program("check", path))


def test_bad_question_to_a_driver_is_one_line_and_exit_code_2(start, skate_program):
    pid = start().pid
    for arguments, expected in (
        (["list", "tasks", "--filter", "stat=x"], "did you mean 'state'?"),
        (["list", "tasks", "--filter", "worker_pid=x"], "compares with 'x', but must with"),
        (["list", "tasks", "--limit", "0"], "limit is 0, but must be a whole number"),
        (["get", "task", "00"], f"there is no task 00 in driver {pid}"),
        (["why", "xyz"], '"xyz" is no id of this session'),
    ):
        assert expected in refusal(skate_program(*arguments, "--pid", pid))


def test_command_of_many_lines_is_one(skate_program):
    code = "import skate, sys\nskate.init()\nprint('\x1b[31m', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as driver:
        driver.stdout.readline()
        text = skate_program("status", "--pid", driver.pid).stdout
        driver.stdin.close()
    assert "import skate, sys skate.init()" in text.splitlines()[0]
    assert text.isascii()
    assert "\x1b" not in text


def test_several_drivers_are_named_and_none_is_said(start, skate_program):
    one, other = start(), start()
    line = refusal(skate_program("list", "tasks"))
    assert "drivers are running: say which with --pid" in line
    assert str(one.pid) in line
    assert str(other.pid) in line
    # A network namespace has abstract sockets of its own: there nobody runs.
    alone = ["unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("namespaces cannot be made here")
    program = [*alone, sys.executable, "-m", "skate"]
    ran = subprocess.run([*program, "list", "tasks"], check=False, capture_output=True, text=True)
    assert "no driver is running: start a program that uses skate" in refusal(ran)
    ran = subprocess.run([*program, "status"], check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "no driver is running\n")


def test_a_reader_that_has_seen_enough_ends_the_list_in_silence(start):
    driver = start("refs = [f.remote(k) for k in range(300)]\nskate.get(refs)\n")
    command = [sys.executable, "-m", "skate", "list", "tasks", "--json", "--pid", str(driver.pid)]
    ran = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ran.stdout.close()
    assert ran.stderr.read() == b""
    ran.stderr.close()
    assert ran.wait(20) == 0


def test_help_of_all_commands_imports_nothing_heavy():
    code = (
        "import sys, contextlib, io, skate.cli\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    skate.cli.main(['--help'])\n"
        "print([name for name in ('numpy', 'rich', 'cloudpickle') if name in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"
