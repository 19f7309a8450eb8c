"""Runs the Python blocks of one Markdown page as one program, as a reader would type them.

    python run_page.py docs/generators.md

Blocks are fenced with ```python. What a block needs and the page does not show stands before it in
`<!-- run: ... -->`. Top-level `await` works, as in a notebook; a traceback names the page's lines.
"""

import ast
import asyncio
import inspect
import linecache
import re
import sys
from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```$|^<!-- run:\n(.*?)^-->$", re.DOTALL | re.MULTILINE)
TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def blocks(page):
    """The blocks of a page, each with empty lines in front: so its lines have their numbers."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        source = match[1] if match[1] is not None else match[2]
        yield "\n" * (text.count("\n", 0, match.start()) + 1) + source


def main():
    page = Path(sys.argv[1])
    # Functions of a program belong to `__main__`, and so do these.
    namespace = sys.modules["__main__"].__dict__
    loop = asyncio.new_event_loop()
    for source in blocks(page):
        code = compile(source, str(page), "exec", flags=TOP_LEVEL_AWAIT)
        linecache.cache[str(page)] = (0, None, page.read_text().splitlines(keepends=True), "")
        result = eval(code, namespace)  # noqa: S307 - our own pages
        if inspect.iscoroutine(result):
            loop.run_until_complete(result)
    loop.close()


if __name__ == "__main__":
    main()
