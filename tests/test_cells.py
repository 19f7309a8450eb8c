"""What a session does for notebooks, without a kernel: which cell a line belongs to."""

import sys
import threading
from types import ModuleType

from skate._cells import LAST, Cells


class Ids:
    """Stands for a client: each id that it gives out is greater than those before."""

    def __init__(self):
        self.count = 0

    def put(self, _value):
        return self

    def hex(self):
        self.count += 1
        return "0" * 24 + f"{self.count:016x}"


def test_a_line_goes_to_the_last_cell_that_began_before_its_task():
    ids = Ids()
    cells = Cells(ids)
    early = ids.hex()
    cells.begin("first")
    of_first = ids.hex()
    cells.begin("second")
    of_second = ids.hex()
    assert cells.cell_of(early) == LAST
    assert cells.header(cells.cell_of(of_first)) == "first"
    assert cells.header(cells.cell_of(of_second)) == "second"
    assert cells.header(LAST) == "second"


def test_a_line_that_comes_while_a_cell_begins():
    # The cell was known before its header was: an IndexError, and all lines with it were lost.
    ids = Ids()
    cells = Cells(ids)
    cells.begin("first")
    task = "0" * 24 + f"{99:016x}"
    seen = []

    class Looked(list):
        def append(self, item):
            super().append(item)
            if not seen:
                seen.append(None)
                cells._known.clear()
                other = threading.Thread(target=look)
                other.start()
                other.join()

    def look():
        seen.append(cells.header(cells.cell_of(task)))

    for name, value in vars(cells).items():
        if isinstance(value, list):
            setattr(cells, name, Looked(value))
    cells.begin("second")
    assert seen == [None, "second"]


def test_session_that_begins_while_another_thread_imports_ipython(fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))  # as it is at first
    fresh.init(num_cpus=1)
    assert fresh.is_initialized()
