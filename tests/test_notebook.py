"""skate in a real notebook kernel: output in its cell, Ctrl-C, HTML, cells that are run again."""

import os
import shutil
import tempfile
import time

import pytest

jupyter = pytest.importorskip("jupyter_client.manager", reason="no ipykernel here")
pytest.importorskip("ipykernel")

pytestmark = [
    pytest.mark.processes("a kernel with workers"),
    pytest.mark.filterwarnings("ignore"),  # of jupyter_client, not ours
]
PATIENCE_S = 30


class Notebook:
    """A kernel, and what it answers."""

    def __init__(self, manager, client):
        self.manager, self.client = manager, client

    def start(self, code):
        return self.client.execute(code, stop_on_error=False)

    def messages(self, cell, until):
        """What belongs to a cell, up to the message for which `until` holds."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            message = self.client.get_iopub_msg(timeout=PATIENCE_S)
            if message["parent_header"].get("msg_id") == cell:
                yield message
                if until(message):
                    return
        raise TimeoutError(cell)

    def run(self, code):
        """Runs a cell to its end; its result, by format. Raises what it raised."""
        cell, result = self.start(code), {}
        for message in self.messages(cell, is_idle):
            if message["msg_type"] == "execute_result":
                result = message["content"]["data"]
            elif message["msg_type"] == "error":
                raise AssertionError("\n".join(message["content"]["traceback"]))
        return result


def is_idle(message):
    return message["content"].get("execution_state") == "idle"


def says(text):
    return lambda message: text in message["content"].get("text", "")


@pytest.fixture(scope="module")
def notebook():
    # Sockets with names: a port that was free may be somebody else's when the kernel takes it.
    directory = tempfile.mkdtemp(prefix="k")  # short, as names of sockets must be
    manager = jupyter.KernelManager(kernel_name="python3", transport="ipc", ip=f"{directory}/k")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    made = Notebook(manager, client)
    made.run("import skate, os, threading")
    yield made
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    shutil.rmtree(directory, ignore_errors=True)


def test_the_session_a_ref_and_a_stream_show_themselves_as_html(notebook):
    shown = notebook.run("skate.init(num_cpus=2, resources={'<b>': 1})")["text/html"]
    assert "2 of 2 free" in shown
    assert "&lt;b&gt;" in shown
    assert "ready" in notebook.run("ref = skate.put(1); ref")["text/html"]
    notebook.run("@skate.remote\ndef items():\n    yield 1\nstream = items.remote()")
    assert "ObjectRefGenerator" in notebook.run("stream")["text/html"]
    assert (
        "pending"
        in notebook.run(
            "gate = threading.Event()\n"
            "@skate.remote\n"
            "def waits():\n    threading.Event().wait(1000)\n"
            "pending = waits.remote()\npending"
        )["text/html"]
    )
    notebook.run("skate.cancel(pending, force=True)")


def start_held(notebook, tmp_path, call, then=""):
    """Starts a cell that submits a call which waits at a gate, and a later one that is running."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    cell = notebook.start(f"held = {call}.remote({str(gate)!r}){then}")
    list(notebook.messages(cell, is_idle))
    # Naps: a signal just before one long wait would be noticed after it, so never.
    naps = "while True:\n    threading.Event().wait(0.02)"
    later = notebook.start(f"print('later', flush=True)\n{naps}")
    list(notebook.messages(later, says("later")))
    return cell, gate


@pytest.fixture
def interrupted(notebook):
    """Ends the later cell."""
    yield
    notebook.manager.interrupt_kernel()
    while notebook.client.get_iopub_msg(timeout=PATIENCE_S)["msg_type"] != "error":
        pass


HELD = """
@skate.remote
def says(path):
    open(path).read()
    print("said late")

@skate.remote
def parent(path):
    return skate.get(says.remote(path))

@skate.remote
def logs(path):
    import logging
    open(path).read()
    logging.getLogger("late").warning("logged late")

@skate.remote
def fails(path):
    open(path).read()
    raise ValueError("failed late")

@skate.remote
class Actor:
    def says(self, path):
        open(path).read()
        print("said late")

@skate.remote
class Async:
    async def says(self, path):
        import asyncio
        await asyncio.to_thread(lambda: open(path).read())
        print("said late")

actor, asynchronous = Actor.remote(), Async.remote()
"""


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("says", "said late"),
        ("parent", "said late"),
        ("actor.says", "said late"),
        ("asynchronous.says", "said late"),
        ("logs", "logged late"),
    ],
)
@pytest.mark.usefixtures("interrupted")
def test_late_output_comes_in_the_cell_that_submitted_the_task(notebook, tmp_path, call, text):
    notebook.run(HELD)
    cell, gate = start_held(notebook, tmp_path, call)
    gate.write_bytes(b"")
    assert list(notebook.messages(cell, says(text)))


@pytest.mark.usefixtures("interrupted")
def test_an_error_that_nobody_fetches_comes_in_the_cell_of_its_task(notebook, tmp_path):
    notebook.run(HELD)
    cell, gate = start_held(notebook, tmp_path, "fails", then="; del held")
    gate.write_bytes(b"")
    assert list(notebook.messages(cell, says("failed late")))


def test_output_comes_in_the_cell_that_waits_for_it(notebook):
    notebook.run("@skate.remote\ndef speaks(text):\n    print(text)")
    for text in ("first", "second"):
        cell = notebook.start(f"skate.get(speaks.remote({text!r}))")
        assert list(notebook.messages(cell, says(f") {text}\n")))


def test_ctrl_c_ends_the_cell_that_waits_and_nothing_else(notebook):
    notebook.run(
        "@skate.remote\ndef waits():\n    print('waiting')\n    threading.Event().wait(1000)\n"
    )
    cell = notebook.start("ref = waits.remote(); skate.get(ref)")
    list(notebook.messages(cell, says("waiting")))
    notebook.manager.interrupt_kernel()
    *_, error = notebook.messages(cell, lambda message: message["msg_type"] == "error")
    assert error["content"]["ename"] == "KeyboardInterrupt"
    assert notebook.run("skate.get(skate.put(42))")["text/plain"] == "42"
    notebook.run("skate.cancel(ref, force=True)")


def test_a_cell_that_is_run_again_replaces_its_functions_and_classes(notebook):
    cell = (
        "@skate.remote\ndef helps():\n    return {0}\n"
        "@skate.remote\ndef version():\n    return skate.get(helps.remote())\n"
        "@skate.remote\nclass Thing:\n    def version(self):\n        return {0}\n"
        "thing = Thing.remote()"
    )
    for number in ("1", "2"):
        notebook.run(cell.format(number))
        assert notebook.run("skate.get(version.remote())")["text/plain"] == number
        assert notebook.run("skate.get(thing.version.remote())")["text/plain"] == number


def test_an_error_of_a_task_shows_the_cells_line(notebook):
    cell = notebook.start(
        "@skate.remote\ndef fails():\n    raise ValueError('no good')\nskate.get(fails.remote())"
    )
    *_, error = notebook.messages(cell, lambda message: message["msg_type"] == "error")
    text = "\n".join(error["content"]["traceback"])
    assert "raise ValueError('no good')" in text
    assert "skate/_api.py" not in text


def test_a_new_session_after_a_shutdown_works(notebook):
    assert (
        "has ended"
        in notebook.run("old = skate.init(ignore_reinit_error=True)\nskate.shutdown()\nold")[
            "text/html"
        ]
    )
    assert notebook.run("skate.get(speaks.remote('again'))") == {}
