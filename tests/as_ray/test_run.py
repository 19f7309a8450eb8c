"""`skate run`: a program sees what `python` would show it."""

import sys

import pytest


def run(call, *argv):
    return call(sys.executable, "-m", "skate", "run", "--shadow", *argv)


def test_arguments_and_names_are_those_of_the_program(call, program):
    path = program("""
        import sys
        print(sys.argv[1:], __name__, sys.modules["__main__"].__dict__ is globals())
    """)
    assert run(call, path, "-x", "--shadow", "y").out == "['-x', '--shadow', 'y'] __main__ True\n"


def test_modules_beside_the_program_are_found_in_workers_too(call, program):
    program("VALUE = 7", "sub/beside.py")
    path = program(
        """
        import ray, beside

        @ray.remote
        def ask():
            import beside
            return beside.VALUE

        print(ray.get(ask.remote()))
        """,
        "sub/prog.py",
    )
    assert run(call, path).out == "7\n"


def test_a_module_can_be_run(call, program):
    program("import ray, sys; print(ray.__name__, sys.argv[1:])", "package/tool.py")
    assert run(call, "-m", "package.tool", "-a").out == "ray ['-a']\n"


def test_the_exit_code_is_the_programs(call, program):
    assert run(call, program("import sys; sys.exit(5)")).code == 5


def test_an_error_is_shown_without_frames_of_skate(call, program):
    done = run(call, program("def f():\n    raise KeyError('k')\nf()\n"))
    assert done.code == 1
    assert done.err.rstrip().endswith("KeyError: 'k'")
    assert "cli/run.py" not in done.err
    assert 'prog.py", line 3' in done.err


def test_an_error_of_a_module_is_shown_without_frames_of_skate(call, program):
    """A BrokenPipeError of its own was the exit code 0 without a word; others had all frames."""
    program("def f():\n    raise BrokenPipeError('mine')\nf()\n", "tool.py")
    done = run(call, "-m", "tool")
    assert done.code == 1
    assert done.err.rstrip().endswith("BrokenPipeError: mine")
    assert "cli" not in done.err
    assert "runpy" not in done.err
    assert 'tool.py", line 3' in done.err


@pytest.mark.parametrize("end", ["sys.stdout.close()", "sys.stdout = None"])
def test_a_program_may_end_its_stdout(call, program, end):
    """It ended with a traceback of skate's."""
    done = run(call, program(f"import sys\nprint('done', flush=True)\n{end}\n"))
    assert (done.code, done.out, done.err) == (0, "done\n", "")


def test_what_is_no_program_is_said(call, program):
    assert "nosuch.py: No such file" in run(call, "nosuch.py").err
    assert "SyntaxError" in run(call, program("def")).err
    assert run(call).code == 2


def test_functions_that_outlive_the_last_line_still_have_their_globals(call, program):
    path = program("""
        import atexit, ray
        NAME = "still here"
        atexit.register(lambda: print(NAME))
    """)
    assert run(call, path).out == "still here\n"
