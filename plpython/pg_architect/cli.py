"""The ``architect`` command: the gate's verdict on migration scripts, for people and for continuous integration.

It asks a server on which the extension is installed (``architect.judge_script``); nothing is executed there, but for
``--prove``, which runs the statements on an empty copy of the structure.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, LiteralString, NoReturn

from pg_architect import acknowledge, cli_output
from pg_architect.cli_output import Row
from pg_architect.core.errors import ArchitectError
from pg_architect.safety import prove
from pg_architect.safety.split import Piece, next_script, split

DONE, NEEDS_APPROVAL, REFUSE, ERROR = 0, 1, 2, 3
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


@dataclass(frozen=True, slots=True)
class File:
    """A script as it was read, cut as the server will cut it, with the rules that each statement's comments ignore."""

    name: str
    text: str
    pieces: Sequence[Piece]
    ignored: Sequence[set[str]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    try:
        options = _parser().parse_args(arguments)
        rows = _judge_all(options)
    except (Failure, acknowledge.Wrong) as exc:
        print(f"architect: {exc}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        return ERROR
    try:
        _print(rows, options)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    surprises = any(row["proof"]["surprises"] for row in rows if row.get("proof"))
    return REFUSE if surprises else exit_code([str(row["effective_verdict"]) for row in rows], options.fail_on)


def _version() -> str:
    """The version that `make install` put into the path; in a source tree there is none."""
    name = Path(__file__).resolve().parents[1].name
    return name if name[:1].isdigit() else "(source tree)"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="architect", description="pg_architect on the command line", epilog=_EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"architect {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    judge = commands.add_parser(
        "judge", help="what the safety gate says about migration scripts; nothing is executed", epilog=_EXIT_CODES
    )
    judge.add_argument("files", nargs="+", metavar="FILE", help="a script of SQL; - reads standard input")
    judge.add_argument("--dsn", default="", help="libpq connection string or URI")
    judge.add_argument("--format", choices=("text", "json", "github"), default="text", help="what is printed")
    judge.add_argument(
        "--json", action="store_const", const="json", dest="format", help="print a list of objects: --format json"
    )
    judge.add_argument("--verbose", action="store_true", help="print notes, locks and estimated durations, too")
    judge.add_argument(
        "--in-order", action="store_true", help="each file sees what the files before it do; they run in this order"
    )
    judge.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="RULE",
        help="reasons of this rule are shown, and count nothing",
    )
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
        "--scratch-dsn", default="", help="the throw-away server on which --prove makes its copy; not the judged one"
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


def _judge_all(options: argparse.Namespace) -> list[Row]:
    files = [_file(name) for name in options.files]
    named = {*options.ignore, *(rule for file in files for rules in file.ignored for rule in rules)}
    if named:
        acknowledge.check(named, {row["rule"] for row in _query(options.dsn, "select rule from architect.gate_rules")})
    together = [files] if options.in_order else [[file] for file in files]
    return [row for group in together for row in _judge(group, options)]


def _file(name: str) -> File:
    text = _read(name)
    try:
        pieces = split(text)
    except ArchitectError:
        pieces = []  # the server says so, too
    if any(piece.script for piece in pieces):
        raise Failure(f"{name}: a comment that begins another script is for judge_script alone: give two files")
    return File(name, text, pieces, acknowledge.read(name, text, pieces))


def _judge(files: Sequence[File], options: argparse.Namespace) -> list[Row]:
    """The rows of files that belong together, in order."""
    text = files[0].text if len(files) == 1 else "\n".join(next_script(file.name) + file.text for file in files)
    rows = _ask(options.dsn, text, options.single_transaction)
    places = [
        (file, piece, ignored) for file in files for piece, ignored in zip(file.pieces, file.ignored, strict=True)
    ]
    if len(places) != len(rows):
        if len(files) > 1 and places:
            raise Failure(_not_joined(rows))
        places = [(files[0], Piece(1, ""), set())] * len(rows)
    if len(files) > 1 and any(piece.text != row["statement"] for (_, piece, _), row in zip(places, rows, strict=True)):
        raise Failure(_not_joined(rows))
    proofs: list[prove.Proof | None] = [None] * len(rows)
    if options.prove:
        try:
            proofs = prove.prove(options.dsn, options.scratch_dsn, rows)
        except prove.CannotProve as exc:
            raise Failure(f"nothing can be proved: {exc}") from exc
    return [
        {
            "file": file.name,
            **acknowledge.apply(row, {*options.ignore, *ignored}),
            **({"proof": proof and asdict(proof)} if options.prove else {}),
        }
        for (file, _, ignored), row, proof in zip(places, rows, proofs, strict=True)
    ]


def _not_joined(rows: Sequence[Row]) -> str:
    """Why files in order cannot be judged: one of them is cut off, or they are too long together."""
    if len(rows) == 1 and [reason["rule"] for reason in rows[0]["reasons"]] == ["script"]:
        return f"the files together: {rows[0]['reasons'][0]['detail']}"
    return "a file ends within a comment, a string or a statement: what comes after it cannot be judged in order"


def _read(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as exc:
        raise Failure(f"cannot read {name}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise Failure(f"cannot read {name}: it is not UTF-8 text") from exc


def _ask(dsn: str, script: str, single_transaction: bool) -> list[Row]:
    if "\0" in script:
        raise Failure("a script cannot contain a NUL byte")
    query = (
        "select j.*, extract(epoch from j.estimated_duration)::float8 as estimated_seconds"
        " from architect.judge_script(%s::text, %s::boolean) as j order by number"
    )
    return _query(dsn, query, script, single_transaction)


def _query(dsn: str, text: LiteralString, *parameters: object) -> list[Row]:
    import psycopg
    from psycopg.rows import dict_row

    try:
        with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
            connection.execute("set client_encoding = 'UTF8'")
            return connection.execute(text, parameters).fetchall()
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


def _print(rows: Sequence[Row], options: argparse.Namespace) -> None:
    if options.format == "json":
        print(cli_output.as_json(rows))
        return
    if options.format == "github":
        print("".join(f"{line}\n" for line in cli_output.github(rows)), end="")
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        for row in rows:
            print("\n".join(cli_output.lines(row, colour=colour, verbose=options.verbose)))
    print(cli_output.summary(rows))
