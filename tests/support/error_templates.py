"""The messages of our own errors, read from the source: ``…`` stands for what a message takes in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GAP = "…"
# Which argument of these calls is the message. A message that is passed on, or that is no text, has no template.
MESSAGE_ARGUMENT = {"ArchitectError": 1, "UnreachableError": 1, "StatementError": 1, "stop": 0}
_RAISE = re.compile(r"raise exception\s+'((?:[^']|'')*)'")


def templates() -> list[str]:
    """Every message of plpython/ and sql/, sorted."""
    return sorted({*_from_python(), *_from_sql()})


def pattern(template: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in template.split(GAP)), re.DOTALL)


def _from_python() -> Iterator[str]:
    for path in (ROOT / "plpython/pg_architect").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            position = MESSAGE_ARGUMENT.get(node.func.id)
            if position is not None and len(node.args) > position and (found := _text(node.args[position])):
                yield found


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
    return None


def _from_sql() -> Iterator[str]:
    for folder in ("sql", "migrations"):
        for path in (ROOT / folder).rglob("*.sql"):
            for message in _RAISE.findall(path.read_text(encoding="utf-8")):
                yield message.replace("''", "'").replace("%", GAP)
