"""How the ``architect`` command prints verdicts: as text, as JSON, and as annotations of GitHub."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

_COLOURS = {"allow": "32", "needs_approval": "33", "refuse": "31"}
_COMMANDS = {"allow": "notice", "needs_approval": "warning", "refuse": "error"}
_QUIET = ("note", "allow")


def as_json(rows: Sequence[Row]) -> str:
    """A list of objects."""
    kept = [{key: value for key, value in row.items() if key != "estimated_duration"} for row in rows]
    return json.dumps(kept, indent=2, ensure_ascii=False, default=str)


def github(rows: Sequence[Row]) -> list[str]:
    """An annotation for each statement that is not allowed, and for what a proof has found."""
    found = []
    for row in rows:
        verdict = _verdict(row)
        surprises = (row.get("proof") or {}).get("surprises") or ()
        if verdict == "allow" and not surprises:
            continue
        reasons = [reason for reason in _sorted(row, verdict) if not reason.get("ignored")]
        told = [f"{reason['rule']}: {reason['detail']}" for reason in reasons]
        told += [f"safer: {step}" for step in row["safer_sql"] or ()]
        told += [f"not as predicted: {surprise}" for surprise in surprises]
        level = "error" if surprises else _COMMANDS[verdict]
        title = f"{verdict} {row['kind']}"
        place = f"file={_property(_name(row))},line={row['line']},title={_property(title)}"
        found.append(f"::{level} {place}::{_data(chr(10).join(told))}")
    return found


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _name(row: Row) -> str:
    return "<stdin>" if row["file"] == "-" else str(row["file"])


def _verdict(row: Row) -> str:
    return str(row.get("effective_verdict", row["verdict"]))


def _sorted(row: Row, verdict: str, *, quiet: bool = False) -> list[Row]:
    """The reasons, those first from which the verdict follows; notes only where they are wanted."""
    reasons = [reason for reason in row["reasons"] if quiet or reason["level"] not in _QUIET]
    return sorted(reasons, key=lambda reason: (bool(reason.get("ignored")), reason["level"] != verdict))


def lines(row: Row, *, colour: bool = False, verbose: bool = False) -> list[str]:
    """What is shown of a statement: its verdict with the first reason for it, further reasons, the safer steps."""
    effective = _verdict(row)
    reasons = _sorted(row, effective)
    verdict = f"\033[{_COLOURS[effective]}m{effective}\033[0m" if colour else effective
    first = f"{_name(row)}:{row['line']}: {verdict} {row['kind']}"
    if row["kind"] == "nothing":
        first += " to do: there is no statement"
    if reasons:
        first += f" — {reasons[0]['rule']}: {reasons[0]['detail']}{_mark(reasons[0])}"
    more = [f"    {reason['level']} {reason['rule']}: {reason['detail']}{_mark(reason)}" for reason in reasons[1:]]
    safer = [f"    safer: {part}" for step in row["safer_sql"] or () for part in step.splitlines()]
    details = _details(row) if verbose else []
    return [first, *more, *(safer if row["verdict"] != "allow" else []), *details, *_proof_lines(row)]


def _mark(reason: Row) -> str:
    return " (ignored)" if reason.get("ignored") else ""


def _details(row: Row) -> list[str]:
    """Notes, the locks and how long it takes, as far as they are known."""
    found = [f"    note {one['rule']}: {one['detail']}{_mark(one)}" for one in row["reasons"] if one["level"] in _QUIET]
    locks = [f"{lock} on {name}" for name, lock in ((row["objects"] or {}).get("locks") or {}).items()]
    if row["lock"] and not locks:
        locks = [str(row["lock"])]
    if locks:
        found.append(f"    lock: {', '.join(locks)}{_blocks(row)}")
    if row["apply_sql"] is not None and row["estimated_by"]:
        seconds = row["estimated_seconds"]
        time = f"about {seconds:.2g} s, by " if seconds else ""
        found.append(f"    takes: {time}{row['estimated_by']}")
    return found


def _blocks(row: Row) -> str:
    if row["blocks_reads"]:
        return " (blocks reads and writes)"
    return " (blocks writes)" if row["blocks_writes"] else ""


def _proof_lines(row: Row) -> list[str]:
    proof = row.get("proof")
    if not proof:
        return []
    if proof["error"]:
        return [f"    not proved: {proof['error']}"]
    if proof["surprises"]:
        return [f"    not as predicted: {surprise}" for surprise in proof["surprises"]]
    taken = [f"{lock} on {name}" for name, lock in proof["locks"].items()]
    taken += [f"{name} written anew" for name in proof["rewritten"]]
    return [f"    proved: {'; '.join(taken) or 'no lock on what was there'}"]


def summary(rows: Sequence[Row]) -> str:
    """How many there are of each verdict."""
    rows = [row for row in rows if row["kind"] != "nothing"]
    count = Counter(_verdict(row) for row in rows)
    words = {"refuse": "refused", "needs_approval": "to approve", "allow": "allowed"}
    told = [f"{count[verdict]} {word}" for verdict, word in words.items() if count[verdict]]
    ignored = sum(any(reason.get("ignored") for reason in row["reasons"]) for row in rows)
    told += [f"{ignored} with ignored reasons"] if ignored else []
    return f"{len(rows)} statement{'' if len(rows) == 1 else 's'}{': ' if told else ''}{', '.join(told)}"
