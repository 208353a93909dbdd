"""A script cut into its statements, at the semicolons that the server would cut it at.

The lexer here is small, and need not be trusted: each piece is parsed alone afterwards and has to be exactly one
statement. Where all pieces before it are, the text up to here means the same to the server; a wrong cut ends in a
refusal. (The parser's own lexer takes minutes for a megabyte that is not ASCII.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pg_architect.core import errors
from pg_architect.core.errors import ArchitectError

MAX_BYTES = 1024 * 1024
MAX_STATEMENTS = 1000

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\r\n]*)
    | (?P<comment>/\*)
    | (?P<text>[eE]'(?:[^'\\]|\\.|'')*' | '[^']*(?:''[^']*)*' | "[^"]*(?:""[^"]*)*")
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<number>\$?[0-9]+)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")


@dataclass(frozen=True, slots=True)
class Piece:
    """A statement as it is written, without what stands around it; ``line`` is where it begins, from 1."""

    line: int
    text: str


@dataclass(slots=True)
class _Nesting:
    """What a semicolon may be inside of: parentheses (CREATE RULE), or the body of a function in SQL."""

    parentheses: int = 0
    blocks: int = 0
    words: tuple[str, ...] = ()

    def see(self, text: str, is_word: bool) -> None:
        if text in "()":
            self.parentheses = max(0, self.parentheses + (1 if text == "(" else -1))
        if not is_word:
            return
        word = text.lower()
        if len(self.words) < 4:
            self.words += (word,)
        makes_routine = self.words[:1] == ("create",) and not {"function", "procedure"}.isdisjoint(self.words)
        if not makes_routine or self.parentheses:
            return
        if word == "begin" or (word == "case" and self.blocks):
            self.blocks += 1
        elif word == "end":
            self.blocks = max(0, self.blocks - 1)


def split(script: str) -> list[Piece]:
    """The statements of a script; ArchitectError for one that is too long or has too many."""
    try:
        size = len(script.encode())
    except UnicodeEncodeError as exc:
        raise ArchitectError(errors.INVALID_PARAMETER_VALUE, "script is not valid Unicode text") from exc
    if size > MAX_BYTES:
        raise ArchitectError(errors.INVALID_PARAMETER_VALUE, f"script has {size} bytes, more than {MAX_BYTES}")
    pieces: list[Piece] = []
    line, counted = 1, 0
    for start, end in _spans(script):
        if len(pieces) == MAX_STATEMENTS:
            raise ArchitectError(errors.INVALID_PARAMETER_VALUE, f"script has more than {MAX_STATEMENTS} statements")
        line += script.count("\n", counted, start)
        counted = start
        pieces.append(Piece(line, script[start:end]))
    return pieces


def _spans(script: str) -> Iterator[tuple[int, int]]:
    """Where each statement begins and ends, in characters, from its first token to its last."""
    first: int | None = None
    last = position = 0
    nesting = _Nesting()
    while position < len(script):
        kind, end = _token(script, position)
        if kind == "end" and not nesting.parentheses and not nesting.blocks:
            if first is not None:
                yield first, last
            first, nesting = None, _Nesting()
        elif kind not in ("space", "comment"):
            first = position if first is None else first
            last = end
            nesting.see(script[position:end], kind == "word")
        position = end
    if first is not None:
        yield first, last


def _token(script: str, position: int) -> tuple[str, int]:
    """The kind of the token at a position, and where it ends; what is not closed goes to the end of the script."""
    match = _TOKEN.match(script, position)
    if match is None:  # never: one of the alternatives takes any character
        return "other", position + 1
    kind, end = str(match.lastgroup), match.end()
    if kind == "comment":
        return kind, _end_of_comment(script, end)
    if kind == "dollar":
        close = script.find(match.group(), end)
        return kind, len(script) if close < 0 else close + len(match.group())
    if kind == "other" and match.group() in "'\"":
        return "text", len(script)
    return kind, end


def _end_of_comment(script: str, position: int) -> int:
    """Comments nest."""
    depth = 1
    while depth:
        match = _COMMENT_MARK.search(script, position)
        if match is None:
            return len(script)
        depth += 1 if match.group() == "/*" else -1
        position = match.end()
    return position
