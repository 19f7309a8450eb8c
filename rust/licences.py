"""Writes LICENSE-THIRD-PARTY: the licences of what is linked into the extension, for the wheel.

python rust/licences.py           writes it
python rust/licences.py --check   fails if it lacks a crate of Cargo.lock that is linked in

The texts are those that the crates bring; a crate without one is named with its licence.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "LICENSE-THIRD-PARTY"
TARGET = "x86_64-unknown-linux-gnu"
NAMES = ("LICENSE-MIT", "LICENSE", "LICENSE.md", "LICENSE-MIT.md", "LICENSE.txt", "COPYING")
HEAD = """The extension module of skate contains this software; its own licence is in LICENSE.
Where a licence gives a choice, the text of one is given.
"""


def cargo(*argv: str) -> str:
    """What cargo says."""
    return subprocess.run(
        ["cargo", *argv], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def linked() -> list[tuple[str, str]]:
    """Name and version of every crate that is linked in, but our own."""
    lines = cargo(
        "tree", "--package", "skate-native", "--edges", "normal,no-proc-macro", "--prefix", "none",
        "--format", "{p}", "--target", TARGET,
    ).splitlines()  # fmt: skip
    crates = {tuple(line.split()[:2]) for line in lines if "(/" not in line}
    return sorted((name, version.removeprefix("v")) for name, version in crates)


def text() -> str:
    """The whole file."""
    rows = json.loads(cargo("metadata", "--format-version", "1"))["packages"]
    packages = {(row["name"], row["version"]): row for row in rows}
    parts = [HEAD]
    for crate in linked():
        package = packages[crate]
        folder = Path(package["manifest_path"]).parent
        found = next((folder / name for name in NAMES if (folder / name).exists()), None)
        body = "" if found is None else found.read_text(encoding="utf-8").strip()
        title = f"{crate[0]} {crate[1]} ({package['license']})"
        parts.append(f"{'=' * 80}\n{title}\n{package['repository'] or ''}\n\n{body}\n")
    return "\n".join(parts)


def main() -> None:
    """Writes it, or checks which crates it names."""
    if "--check" in sys.argv:
        there = FILE.read_text(encoding="utf-8")
        missing = [
            f"{name} {version}"
            for name, version in linked()
            if f"\n{name} {version} (" not in there
        ]
        sys.exit(f"{FILE.name} lacks {missing}: run rust/licences.py" if missing else 0)
    FILE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
