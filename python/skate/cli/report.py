"""Write a page about what a running driver has run so far.

skate report run.html
"""

from __future__ import annotations

from pathlib import Path

from skate.cli import Refused, _attach, _show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where to."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="by default report-<pid>.html")
    _attach.arguments(parser)


def main(parsed: argparse.Namespace) -> int:
    """Writes the page."""
    from skate._report import page

    with _attach.attach(parsed.pid) as driver:
        text = page(driver, _attach.command_of(driver.pid))
    path = parsed.file or f"report-{driver.pid}.html"
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    if parsed.json:
        _show.say_json({"file": path, "bytes": len(text.encode())})
    else:
        _show.say(f"{path}: open it in a browser")
    return 0
