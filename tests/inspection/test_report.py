"""The page that `report` writes: whole, self-contained, and true of what has run."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

pytestmark = pytest.mark.processes("local_mode records nothing")

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
VOID = {"meta", "rect", "line", "path"}


class Page(HTMLParser):
    """Elements with their text; fails on what is not nested."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))
        if tag not in VOID or self.get_starttag_text().endswith("/>") is False:
            self.open.append(self.found[-1])
        if tag == "meta":
            self.open.pop()

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, texts in self.open:
            texts.append(data)

    def texts(self, tag):
        return ["".join(texts) for name, _, texts in self.found if name == tag]


@pytest.fixture(scope="module")
def written(skate, tmp_path_factory):
    """The page of a pipeline with a failure and with names that are markup."""
    path = tmp_path_factory.mktemp("report") / "run.html"

    @skate.remote(generator_backpressure_num_objects=2)
    def items(n):
        for k in range(n):
            yield bytes(100_000 + k)

    @skate.remote
    def size(data):
        return len(data)

    @skate.remote(max_retries=0)
    def failing():
        raise ValueError("x")

    skate.get([size.options(name="<b>&size").remote(ref) for ref in items.remote(20)])
    with pytest.raises(ValueError):
        skate.get(failing.remote())
    skate.util.report(str(path))
    return path


def test_page_is_one_file_that_needs_nothing_else(written):
    text = written.read_text()
    Page(text)
    assert "<script" not in text
    assert not re.search(r"(?:src|href)=|url\(|https?://", text)


def test_page_tells_what_has_run(written):
    page = Page(written.read_text())
    [summary] = [text for text in page.texts("p") if "attempts of tasks" in text]
    assert "22 attempts of tasks (1 failed, 0 still running) and 20 items" in summary
    expected = ["Timeline", "Throughput", "Store", "Unread items of streams", "Functions"]
    assert page.texts("h2") == [*expected, "Slowest attempts"]
    cells = page.texts("td")
    assert {"items", "<b>&size", "failing"} <= set(cells)
    titles = page.texts("title")
    assert sum(title.startswith("items[") for title in titles) == 20
    assert sum(title.startswith("<b>&size: ") for title in titles) == 20


def test_curves_stay_within_their_plots(written):
    page = Page(written.read_text())
    paths = [attrs["d"] for tag, attrs, _ in page.found if tag == "path"]
    assert len(paths) == 4  # tasks, items, store, the stream
    for path in paths:
        assert all(100 < float(x) < 960 for x in re.findall(r"[MH]([\d.]+)", path))
        assert all(0 < float(y) < 190 for y in re.findall(r"[V ]([\d.]+)", path))


def test_store_and_buffer_are_those_of_the_run(skate, written):
    events = skate.timeline()
    items = [event for event in events if event.get("cat") == "yield"]
    assert all(1 <= item["args"]["num_unread"] <= 3 for item in items)
    assert max(item["args"]["used_bytes"] for item in items) >= 100_000


def test_tasks_may_be_called_as_the_trace_calls_its_rows(fresh, tmp_path):
    fresh.init(num_cpus=1)

    @fresh.remote
    def one():
        return 1

    fresh.get([one.options(name=name).remote() for name in ("process_name", "thread_name")])
    fresh.util.report(str(tmp_path / "names.html"))
    assert "process_name: " in (tmp_path / "names.html").read_text()


def test_page_of_nothing_says_so(fresh, tmp_path):
    fresh.init(num_cpus=1)
    fresh.util.report(str(tmp_path / "none.html"))
    assert "Nothing has run." in (tmp_path / "none.html").read_text()
    with pytest.raises(FileNotFoundError):
        fresh.util.report(str(tmp_path / "no" / "none.html"))


def test_program_writes_the_page_of_a_driver(start, skate_program, tmp_path):
    driver = start("skate.get([f.remote(k) for k in range(5)])\n")
    path = tmp_path / "run.html"
    ran = skate_program("report", path, "--pid", driver.pid)
    assert (ran.returncode, ran.stdout) == (0, f"{path}: open it in a browser\n")
    page = Page(path.read_text())
    assert "driver0.py" in page.texts("code")[0]
    assert "f" in page.texts("td")
    ran = skate_program("report", tmp_path / "no" / "run.html", "--pid", driver.pid)
    assert ran.returncode == 2
    assert ran.stderr.endswith("No such file or directory\n")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_lays_the_page_out(written, tmp_path):
    """Headless Chromium draws it: the picture has the colours of the plots."""
    picture = tmp_path / "run.png"
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/home",
        "--window-size=1040,1600", f"--screenshot={picture}", f"file://{written}",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=50)
    assert picture.stat().st_size > 30_000
    dom = subprocess.run(
        [*command[:5], "--dump-dom", f"file://{written}"],
        check=True, capture_output=True, text=True, timeout=50,
    ).stdout  # fmt: skip
    assert dom.count("<svg") == 4
    assert dom.count("<rect") >= 42
