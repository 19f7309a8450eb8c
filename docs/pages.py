"""A hook of mkdocs: pages that `mkdocs.yml` does not name stand in the navigation all the same.

A page that is added to docs/ is so reachable from the day it is written.
"""

from pathlib import Path

HERE = Path(__file__).parent
TITLES = {"inspection": "Looking inside", "trust": "Trust"}


def _named(nav: object) -> set[str]:
    if isinstance(nav, str):
        return {nav}
    parts = nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ()
    return set().union(*map(_named, parts))


def on_config(config):  # noqa: ANN001, ANN201 - of mkdocs, which is no dependency of the tests
    """Adds what is missing to the how-to pages."""
    how_to = next(section["How to"] for section in config.nav if "How to" in section)
    for page in sorted(HERE.glob("*.md")):
        if page.name not in _named(config.nav):
            title = TITLES.get(page.stem, page.stem.replace("_", " ").capitalize())
            how_to.append({title: page.name})
    return config
