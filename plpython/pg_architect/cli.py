"""The ``architect`` command: the gate's verdict on migration scripts, for people and for continuous integration.

It asks a server on which the extension is installed (``architect.judge_script``); nothing is executed there, but for
``--prove``, which runs the statements on an empty copy of the structure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from pg_architect.safety import prove

Row = dict[str, Any]

DONE, NEEDS_APPROVAL, REFUSE, ERROR = 0, 1, 2, 3
_COLOURS = {"allow": "32", "needs_approval": "33", "refuse": "31"}
# SQLSTATEs that say that the extension, or this function of it, is not there.
_NOT_INSTALLED = frozenset({"3F000", "42883", "42P01"})
_EXIT_CODES = """\
exit codes: 0 nothing that --fail-on names; 1 a statement needs approval (with --fail-on needs_approval); 2 a
statement is refused, or did more than predicted (with --prove); 3 wrong usage, or the server cannot be asked. The
connection is libpq's: --dsn, PGHOST, PGDATABASE, PGUSER and the like. The role needs architect_operator or
architect_approver; --prove needs the right to create databases, and a superuser where extensions are to be copied."""


class Failure(Exception):  # noqa: N818  what the person reads, in one line
    """Why the command cannot do what it was asked to."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Failure(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    try:
        options = _parser().parse_args(arguments)
        rows = [row for name in options.files for row in _judge(name, options)]
    except Failure as exc:
        print(f"architect: {exc}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        return ERROR
    try:
        _print(rows, as_json=options.json)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    surprises = any(row["proof"]["surprises"] for row in rows if row.get("proof"))
    return REFUSE if surprises else exit_code([str(row["verdict"]) for row in rows], options.fail_on)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="architect", description="pg_architect on the command line", epilog=_EXIT_CODES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    judge = commands.add_parser(
        "judge", help="what the safety gate says about migration scripts; nothing is executed", epilog=_EXIT_CODES
    )
    judge.add_argument("files", nargs="+", metavar="FILE", help="a script of SQL; - reads standard input")
    judge.add_argument("--dsn", default="", help="libpq connection string or URI")
    judge.add_argument("--json", action="store_true", help="print a list of objects")
    judge.add_argument(
        "--single-transaction",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="whether each file runs as one transaction (as psql --single-transaction does)",
    )
    judge.add_argument(
        "--prove",
        action="store_true",
        help="run what is not refused on an empty copy of the database's structure, and compare locks and rewrites",
    )
    judge.add_argument(
        "--scratch-dsn", default="", help="the server on which --prove makes its copy; the judged one by default"
    )
    judge.add_argument(
        "--fail-on", choices=("needs_approval", "refuse"), default="refuse", help="the mildest verdict that fails"
    )
    return parser


def exit_code(verdicts: Sequence[str], fail_on: str) -> int:
    """The exit code for these verdicts."""
    if "refuse" in verdicts:
        return REFUSE
    return NEEDS_APPROVAL if fail_on == "needs_approval" and "needs_approval" in verdicts else DONE


def _judge(name: str, options: argparse.Namespace) -> list[Row]:
    """The rows of one file; each file is a script of its own."""
    rows = _ask(options.dsn, _read(name), options.single_transaction)
    proofs: list[prove.Proof | None] = [None] * len(rows)
    if options.prove:
        try:
            proofs = prove.prove(options.dsn, options.scratch_dsn, rows)
        except prove.CannotProve as exc:
            raise Failure(f"nothing can be proved: {exc}") from exc
    return [
        {"file": name, **row, **({"proof": proof and asdict(proof)} if options.prove else {})}
        for row, proof in zip(rows, proofs, strict=True)
    ]


def _read(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as exc:
        raise Failure(f"cannot read {name}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise Failure(f"cannot read {name}: it is not UTF-8 text") from exc


def _ask(dsn: str, script: str, single_transaction: bool) -> list[Row]:
    import psycopg
    from psycopg.rows import dict_row

    if "\0" in script:
        raise Failure("a script cannot contain a NUL byte")
    try:
        with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
            connection.execute("set client_encoding = 'UTF8'")
            query = (
                "select j.*, extract(epoch from j.estimated_duration)::float8 as estimated_seconds"
                " from architect.judge_script(%s::text, %s::boolean) as j order by number"
            )
            return connection.execute(query, (script, single_transaction)).fetchall()
    except psycopg.Error as exc:
        raise Failure(_one_line(exc)) from exc


def _one_line(exc: Any) -> str:
    if exc.sqlstate in _NOT_INSTALLED:
        return (
            "pg_architect (with judge_script) is not installed in this database: create extension pg_architect cascade"
        )
    if exc.sqlstate == "42501":
        hint = ": the role needs architect_operator or architect_approver"
        return f"{exc.diag.message_primary}{hint}"
    return " ".join(str(exc.diag.message_primary or exc).split())


def _print(rows: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        kept = [{key: value for key, value in row.items() if key != "estimated_duration"} for row in rows]
        print(json.dumps(kept, indent=2, ensure_ascii=False, default=str))
        return
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for row in rows:
        print("\n".join(lines(row, colour=colour)))


def lines(row: Row, *, colour: bool = False) -> list[str]:
    """What is shown of a statement: its verdict with the first reason for it, further reasons, the safer steps."""
    reasons = [reason for reason in row["reasons"] if reason["level"] not in ("note", "allow")]
    reasons.sort(key=lambda reason: reason["level"] != row["verdict"])
    verdict = f"\033[{_COLOURS[row['verdict']]}m{row['verdict']}\033[0m" if colour else row["verdict"]
    name = "<stdin>" if row["file"] == "-" else row["file"]
    first = f"{name}:{row['line']}: {verdict} {row['kind']}"
    if reasons:
        first += f" — {reasons[0]['rule']}: {reasons[0]['detail']}"
    more = [f"    {reason['level']} {reason['rule']}: {reason['detail']}" for reason in reasons[1:]]
    safer = [f"    safer: {part}" for step in row["safer_sql"] or () for part in step.splitlines()]
    return [first, *more, *(safer if row["verdict"] != "allow" else []), *_proof_lines(row)]


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
