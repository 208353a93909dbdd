"""What a person has taken upon themselves: rules that are ignored, by an option or by a comment at the statement.

-- architect: ignore not-understood, data-loss because the table is a copy
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pg_architect.safety.judgement import strictest
from pg_architect.safety.split import Piece, comments

_DIRECTIVE = re.compile(r"--[ \t]*architect:(.*)")
_IGNORE = re.compile(r"[ \t]*ignore[ \t]+([\w-]+(?:[ \t]*,[ \t]*[\w-]+)*)(?:[ \t]+because[ \t]+(\S.*))?[ \t]*")


class Wrong(Exception):  # noqa: N818  what the person reads
    """Why an acknowledgement cannot be taken."""


def read(name: str, script: str, pieces: Sequence[Piece]) -> list[set[str]]:
    """The rules that each statement's comments ignore; Wrong, with the place, for a comment that means nothing."""
    found: list[set[str]] = [set() for _ in pieces]
    written = script.split("\n")
    for line, text in comments(script):
        directive = _DIRECTIVE.fullmatch(text)
        if directive is None:
            continue
        try:
            rules = _rules(directive.group(1))
            place = _statement_line(line, written)
            meant = [number for number, piece in enumerate(pieces) if piece.line == place]
            if not meant:
                raise Wrong("no statement begins on this line or directly below")
        except Wrong as exc:
            raise Wrong(f"{name}:{line}: {exc}") from exc
        for number in meant:
            found[number] |= rules
    return found


def _rules(text: str) -> set[str]:
    match = _IGNORE.fullmatch(text)
    if match is None:
        raise Wrong("this is not understood: -- architect: ignore RULE[, RULE] because …")
    if match.group(2) is None:
        raise Wrong("ignore needs a reason: -- architect: ignore RULE because …")
    return {rule.strip() for rule in match.group(1).split(",")}


def _statement_line(line: int, written: Sequence[str]) -> int:
    """The line of the statement that a comment is about: its own, or the first below that is no such comment."""
    while line <= len(written) and written[line - 1].lstrip().startswith("--"):
        line += 1
    return line


def check(rules: Collection[str], known: Collection[str]) -> None:
    """Wrong for a rule that is none."""
    unknown = sorted(set(rules) - set(known))
    if unknown:
        raise Wrong(f"there is no rule {', '.join(unknown)}: architect.gate_rules lists them (docs/gate-rules.md)")


def apply(row: Mapping[str, Any], ignored: Collection[str]) -> dict[str, Any]:
    """The row with ``ignored`` on each of its reasons, and the verdict without those."""
    reasons = [{**reason, "ignored": reason["rule"] in ignored} for reason in row["reasons"]]
    verdict = row["verdict"]
    if any(reason["ignored"] for reason in reasons):
        verdict = strictest([reason["level"] for reason in reasons if not reason["ignored"]])
    return {**row, "reasons": reasons, "effective_verdict": verdict}
