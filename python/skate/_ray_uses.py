"""Which names of Ray a program uses: read from its source, without running it.

    import ray.util as u ─▶ u is ray.util      u.queue.Queue(4) ─▶ ray.util.queue.Queue, line 7
    ray.init(dashboard_host=…) ─▶ ray.init, and its keyword dashboard_host

Invariant: only what is written as a name is seen. What a program makes of handles and refs
(`handle.method.remote`) has no name of Ray's in it and is not listed.
"""

from __future__ import annotations

import ast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Uses: TypeAlias = dict[str, list[int]]

_ROOTS = ("ray", "skate")


class _Reader(ast.NodeVisitor):
    """Collects names; `aliases` says what each name of the program stands for."""

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.uses: Uses = {}

    def _use(self, name: str, line: int) -> None:
        from skate._ray_names import TABLE

        if name.rpartition(".")[2].startswith("__") and name not in TABLE:
            return  # what every module has
        self.uses.setdefault(name, []).append(line)

    def visit_Import(self, node: ast.Import) -> None:
        """`import ray`, `import ray.util as u`."""
        for each in node.names:
            name = _as_ray(each.name)
            if name is None:
                continue
            if each.asname:
                self.aliases[each.asname] = name
            else:
                self.aliases[each.name.partition(".")[0]] = "ray"
            if name != "ray":
                self._use(name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """`from ray.util import ActorPool as Pool`."""
        module = None if node.level else _as_ray(node.module or "")
        if module is None:
            return
        for each in node.names:
            if each.name == "*":
                self._use(module, node.lineno)
                continue
            name = f"{module}.{each.name}"
            self.aliases[each.asname or each.name] = name
            self._use(name, node.lineno)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """`ray.util.ActorPool`."""
        name = self._name_of(node)
        if name is None:
            self.generic_visit(node)
        else:
            self._use(name, node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        """Keywords of what has rows for its keywords, too."""
        from skate._ray_names import KEYWORDS_OF

        name = self._name_of(node.func)
        if name in KEYWORDS_OF:
            for keyword in node.keywords:
                if keyword.arg is not None:
                    self._use(f"{name}({keyword.arg}=)", keyword.value.lineno)
        self.generic_visit(node)

    def _name_of(self, node: ast.expr) -> str | None:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.aliases:
            return None
        return ".".join([self.aliases[node.id], *reversed(parts)])


def _as_ray(module: str) -> str | None:
    """The name as Ray's, if it is one: `skate.util` is `ray.util`, too."""
    root, dot, rest = module.partition(".")
    return f"ray{dot}{rest}" if root in _ROOTS else None


def uses_in(source: bytes | str, filename: str = "<program>") -> Uses:
    """Ray's names in a program, with the lines in which they stand.

    Raises:
        SyntaxError: it is no Python.
    """
    reader = _Reader()
    reader.visit(ast.parse(source, filename))
    return {_known_part(name): lines for name, lines in sorted(reader.uses.items())}


def _known_part(name: str) -> str:
    """Without attributes of what is no module: `ray.remote.x` is a use of `ray.remote`."""
    from skate._ray_names import MODULES, TABLE

    if name.endswith(")"):
        return name
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        head = ".".join(parts[:length])
        if head in TABLE and head not in MODULES:
            return head
        if length > 1 and head not in MODULES:
            return head
    return name


def report(path: str, uses: Uses) -> tuple[list[str], bool]:
    """A table of the uses, and whether anything is missing."""
    from skate._ray_names import treatment_of

    rows = []
    for name, lines in uses.items():
        treatment, note = treatment_of(name)
        rows.append((f"{path}:{lines[0]}", name, treatment, note))
    if not rows:
        return [f"{path}: uses no name of Ray"], False
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines_ = [
        "  ".join(
            (*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3])
        ).rstrip()
        for row in rows
    ]
    counts: dict[str, int] = {}
    for row in rows:
        counts[row[2]] = counts.get(row[2], 0) + 1
    summary = ", ".join(f"{count} {treatment}" for treatment, count in sorted(counts.items()))
    lines_.append(f"{path}: {len(rows)} names of Ray: {summary}")
    return lines_, "missing" in counts
