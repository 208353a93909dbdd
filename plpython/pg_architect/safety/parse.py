"""SQL text to trees and back, and the only import of pglast.

pglast carries PostgreSQL's own parser, under the same symbol names as the server. Loaded in the ordinary way its
calls bind to the server's functions and the first parse kills the whole cluster; RTLD_DEEPBIND makes a library prefer
its own symbols. pglast is loaded at first use, because most sessions never parse anything.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import resource
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

from pg_architect.core.errors import ArchitectError

# A pglast node. Its attributes differ by class, so a precise type would be a cast at every use.
Tree: TypeAlias = Any

SYNTAX_ERROR = "42601"
TOO_COMPLEX = "54001"

# Beyond this a statement is a bulk load or an attack, and neither can be judged; parsing takes about 2 us per byte.
MAX_BYTES = 64 * 1024
# pglast turns the parser's tree into Python objects by recursion in C, and nothing checks that stack. Literals,
# parameters and commas add no level, so this many other tokens are a bound; each needs less stack than this (measured:
# up to 412 bytes, for `(select (select …`).
MAX_STRUCTURE_TOKENS = 5000
STACK_PER_TOKEN = 512
# The server guarantees what lies between max_stack_depth and the operating system's limit. Of that the interpreter
# takes a part, and so does what the kernel puts above the server's first frame.
STACK_RESERVE = 256 * 1024
# Python's own recursion limit is 1000 frames, and deparsing needs up to five for a level.
MAX_DEPTH = 200

_FLAT_TOKENS = frozenset({"ICONST", "FCONST", "SCONST", "USCONST", "BCONST", "XCONST", "PARAM", "ASCII_44"})


class Token(NamedTuple):
    """A lexical token; ``start`` and ``end`` are character positions, ``end`` is one past the last."""

    start: int
    end: int
    name: str
    text: str


@functools.cache
def _library() -> ModuleType:
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)
    try:
        import pglast
        import pglast.parser
        import pglast.stream
    finally:
        sys.setdlopenflags(flags)
    return pglast


def __getattr__(name: str) -> Any:
    if name in ("ast", "enums"):
        return getattr(_library(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def parse_one(text: str) -> Tree:
    """Return the tree of the only statement in ``text`` (an ``ast.SelectStmt`` or another statement node).

    Raises ArchitectError: 54001 for text that is too long or too deeply nested, 42601 for everything else that is
    not exactly one statement.
    """
    tokens(text)
    try:
        statements = _library().parse_sql(text)
    except _parse_errors() as exc:
        raise _refusal(exc) from exc
    if len(statements) != 1:
        raise ArchitectError(SYNTAX_ERROR, f"expected one statement, found {len(statements)}")
    tree = statements[0].stmt
    if _depth_exceeds(tree, MAX_DEPTH):
        raise ArchitectError(TOO_COMPLEX, f"statement is nested more than {MAX_DEPTH} levels deep")
    return tree


def split(text: str) -> list[str]:
    """The texts of the statements in ``text``, without the semicolons between them; ArchitectError if one is broken."""
    try:
        return [str(part) for part in _library().split(text)]
    except _parse_errors() as exc:
        raise _refusal(exc) from exc


def deparse(tree: Tree) -> str:
    """Return ``tree`` as SQL text, which is proved to mean the same by parsing it again.

    The text does not depend on ``standard_conforming_strings``. Raises ArchitectError where the two trees differ.
    """
    try:
        text = _escape_strings(str(_library().stream.RawStream()(tree)))
        same = _library().parse_sql(text)
        if len(same) == 1 and same[0].stmt == tree:
            return text
    except _parse_errors() as exc:
        if isinstance(exc, RecursionError):
            raise _refusal(exc) from exc
    except (NotImplementedError, ValueError, TypeError, AttributeError, KeyError):
        # pglast's printers cover most of the grammar, not all of it.
        pass
    raise ArchitectError(SYNTAX_ERROR, "statement cannot be written back as SQL text without changing its meaning")


def _escape_strings(text: str) -> str:
    """Write string constants with a backslash as E'…', which means the same in every session."""
    if "\\" not in text:
        return text
    for item in reversed(_library().parser.scan(text)):
        constant = text[item.start : item.end + 1]
        if item.name == "SCONST" and constant.startswith("'") and "\\" in constant:
            text = text[: item.start] + "E" + constant.replace("\\", "\\\\") + text[item.end + 1 :]
    return text


def fingerprint(text: str) -> str:
    """Return libpg_query's fingerprint of the only statement in ``text``: the same for other constants."""
    parse_one(text)
    try:
        return str(_library().parser.fingerprint(text))
    except _parse_errors() as exc:
        raise _refusal(exc) from exc


def tokens(text: str) -> list[Token]:
    """Return the tokens of ``text`` without comments and white space; ArchitectError as for ``parse_one``."""
    _check_text(text)
    try:
        scanned = _library().parser.scan(text)
    except _parse_errors() as exc:
        raise _refusal(exc) from exc
    found = [
        Token(item.start, item.end + 1, item.name, text[item.start : item.end + 1])
        for item in scanned
        if item.name not in ("SQL_COMMENT", "C_COMMENT")
    ]
    limit = structure_limit(resource.getrlimit(resource.RLIMIT_STACK)[0], _server_stack_depth())
    if sum(1 for token in found if token.name not in _FLAT_TOKENS) > limit:
        small = limit < MAX_STRUCTURE_TOKENS
        hint = "Lower max_stack_depth, or raise the server's limit of the stack (ulimit -s)." if small else None
        raise ArchitectError(TOO_COMPLEX, f"statement has more than {limit} tokens beside literals", hint=hint)
    if not found:
        raise ArchitectError(SYNTAX_ERROR, "no statement in the text")
    return found


def structure_limit(stack_bytes: int, server_kilobytes: int | None) -> int:
    """Return how many structure tokens can be parsed on the stack that is certainly free.

    ``stack_bytes`` is the operating system's limit, ``server_kilobytes`` the server's max_stack_depth, in its own
    unit; None outside a server.
    """
    if server_kilobytes is None or stack_bytes == resource.RLIM_INFINITY:
        return MAX_STRUCTURE_TOKENS
    free = stack_bytes - server_kilobytes * 1024 - STACK_RESERVE
    return max(0, min(MAX_STRUCTURE_TOKENS, free // STACK_PER_TOKEN))


def _server_stack_depth() -> int | None:
    """The server's max_stack_depth as it is now: a superuser may change it at any time."""
    try:
        return ctypes.c_int.in_dll(_program(), "max_stack_depth").value
    except ValueError:
        return None


@functools.cache
def _program() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def walk(tree: Tree) -> Iterator[Tree]:
    """Yield ``tree`` and every node below it, parents before children, in the order of the grammar's fields."""
    node_class = _library().ast.Node
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, node_class):
            yield item
            pending.extend(reversed([getattr(item, name) for name in item.__slots__]))
        elif isinstance(item, tuple):
            pending.extend(reversed(item))


def children(tree: Tree) -> list[Tree]:
    """Return the nodes directly below ``tree``, those in its lists (and lists of lists) included."""
    node_class = _library().ast.Node
    found = []
    pending = [getattr(tree, name) for name in reversed(tree.__slots__)]
    while pending:
        item = pending.pop()
        if isinstance(item, node_class):
            found.append(item)
        elif isinstance(item, tuple):
            pending.extend(reversed(item))
    return found


def kind_of(tree: Tree) -> str:
    """Return the class name of a node, ``SelectStmt`` for instance: comparing it needs no pglast."""
    return type(tree).__name__


def strings(items: tuple[Tree, ...] | None) -> list[str] | None:
    """Return the texts of a list of String nodes, or None where it holds anything else."""
    values = [item.sval for item in items or () if kind_of(item) == "String"]
    return values if len(values) == len(items or ()) else None


# A type name directly before a parameter, as a sequence of token names. From the grammar's ConstTypename, AexprConst.
_PRECISION = r"(?: ASCII_40 ICONST(?: ASCII_44 ICONST)? ASCII_41)?"
_TYPED_LITERAL = re.compile(
    r"(?<!\S)(?:"
    rf"INTERVAL{_PRECISION}"
    rf"|(?:TIMESTAMP|TIME){_PRECISION}(?: (?:WITH|WITH_LA|WITHOUT|WITHOUT_LA) TIME ZONE)?"
    rf"|(?:CHARACTER|CHAR_P|NCHAR|VARCHAR|BIT|NUMERIC|DECIMAL_P|DEC|FLOAT_P)(?: VARYING)?{_PRECISION}"
    r"|DOUBLE_P PRECISION|BOOLEAN_P|INT_P|INTEGER|BIGINT|SMALLINT|REAL|JSON|TEXT_P|NAME_P|XML_P"
    r"|IDENT(?: ASCII_46 IDENT)*"
    r") PARAM(?!\S)"
)
_EXTRACT = re.compile(r"(?<!\S)EXTRACT ASCII_40 PARAM FROM(?!\S)")


def repair_normalised(text: str) -> str:
    """Return a normalised text of pg_stat_statements with the forms put right that the server refuses.

    It replaces the literal in ``interval '1 day'`` and ``extract(year from x)`` alike, and the server accepts neither
    ``interval $1`` nor ``extract($1 from x)``. They become ``$1::interval`` and ``pg_catalog.extract($1, x)``.
    ``parse_one`` needs no such help: pglast's grammar takes both.
    """
    found = tokens(text)
    names = " ".join(token.name for token in found)
    edits: list[tuple[int, int, str]] = []
    for match in _TYPED_LITERAL.finditer(names):
        first, last = names.count(" ", 0, match.start()), names.count(" ", 0, match.end())
        edits.append((found[first].start, found[first].start, f"{found[last].text}::"))
        edits.append((found[last].start, found[last].end, ""))
    for match in _EXTRACT.finditer(names):
        first, last = names.count(" ", 0, match.start()), names.count(" ", 0, match.end())
        edits.append((found[first].start, found[first].end, "pg_catalog.extract"))
        edits.append((found[last].start, found[last].end, ","))
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def _check_text(text: str) -> None:
    """Refuse what pglast would cut short or cannot encode."""
    if "\0" in text:
        raise ArchitectError(SYNTAX_ERROR, "statement contains a NUL byte")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise ArchitectError(SYNTAX_ERROR, "statement is not valid Unicode text") from exc
    if size > MAX_BYTES:
        raise ArchitectError(TOO_COMPLEX, f"statement has {size} bytes, more than {MAX_BYTES}")


def _depth_exceeds(tree: Tree, limit: int) -> bool:
    level = [tree]
    for _ in range(limit):
        level = [child for node in level for child in children(node)]
        if not level:
            return False
    return True


@functools.cache
def _parse_errors() -> tuple[type[Exception], ...]:
    return (_library().parser.ParseError, RecursionError)


def _refusal(exc: Exception) -> ArchitectError:
    if isinstance(exc, RecursionError) or "memory exhausted" in str(exc):
        return ArchitectError(TOO_COMPLEX, "statement is nested too deeply to be parsed")
    reason = str(exc.args[0]) if exc.args else "unknown"
    return ArchitectError(SYNTAX_ERROR, f"statement cannot be parsed: {reason}")
