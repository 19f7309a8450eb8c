"""Write what ran when and where as a Chrome trace, for ui.perfetto.dev or chrome://tracing.

skate timeline trace.json
"""

from __future__ import annotations

import sys

from skate.cli import Refused, _attach, _show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where to."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="by default timeline-<pid>.json; - is stdout"
    )
    _attach.arguments(parser)


def main(parsed: argparse.Namespace) -> int:
    """Writes the trace, and says what is not in it."""
    from skate._timeline import trace_of, write

    with _attach.attach(parsed.pid) as driver:
        events, dropped = trace_of(driver)
    path = parsed.file or f"timeline-{driver.pid}.json"
    if any(dropped.values()):
        counts = ", ".join(f"{count:,} earlier {what}" for what, count in dropped.items() if count)
        print(f"skate timeline: not in it, because forgotten: {counts}", file=sys.stderr)  # noqa: T201
    if path == "-":
        _show.say_json(events)
        return 0
    try:
        write(path, events, dropped)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    if parsed.json:
        _show.say_json({"file": path, "events": len(events), "dropped": dropped})
    else:
        _show.say(f"{len(events):,} events in {path}: open it in https://ui.perfetto.dev")
    return 0
