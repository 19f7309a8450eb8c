"""Say what something waits for, down to the last cause.

skate why            what the driver waits for
skate why 5f67…0001  what that object, task, actor or worker waits for
"""

from __future__ import annotations

from skate.cli import _attach, _show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of what."""
    parser.add_argument(
        "id", nargs="?", default="driver", metavar="ID",
        help="of an object, a task, an actor or a worker; without it the driver",
    )  # fmt: skip
    _attach.arguments(parser)


def main(parsed: argparse.Namespace) -> int:
    """Prints the chain."""
    from skate.util.state._why import chain

    with _attach.attach(parsed.pid) as driver:
        found = chain(driver, parsed.id)
    if parsed.json:
        _show.say_json([{**step.asdict(), "text": str(step)} for step in found])
    else:
        _show.say(str(found))
    return 0
