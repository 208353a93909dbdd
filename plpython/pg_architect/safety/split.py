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
      (?P<line>--[^\r\n]*)
    | (?P<space>\s+)
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
_LINE = re.compile(r"[^\r\n]*")
# A comment that begins another script: its lines count anew, and no transaction reaches across.
_NEXT_SCRIPT = re.compile(r"--[ \t]*architect:[ \t]*script[ \t]+(\S.*?)[ \t]*")


_BETWEEN = ("space", "comment", "line")


@dataclass(frozen=True, slots=True)
class Piece:
    """A statement as it is written, without what stands around it; ``line`` is where it begins, from 1.

    ``script`` is the name of the script that it stands in, where there are several, and "" where there are not.
    """

    line: int
    text: str
    script: str = ""

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"line {self.line} of {self.script}" if self.script else f"line {self.line}"


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
    for start, end, (name, origin) in _spans(script):
        if len(pieces) == MAX_STATEMENTS:
            raise ArchitectError(errors.INVALID_PARAMETER_VALUE, f"script has more than {MAX_STATEMENTS} statements")
        pieces.append(Piece(1 + script.count("\n", origin, start), script[start:end], name))
    return pieces


def next_script(name: str) -> str:
    """The line that begins a script of this name."""
    return f"-- architect: script {' '.join(name.split())}\n"


def comments(script: str) -> list[tuple[int, str]]:
    """The comments that begin with two dashes, each with its line."""
    found: list[tuple[int, str]] = []
    position, line = 0, 1
    while position < len(script):
        kind, end = _token(script, position)
        if kind == "line":
            found.append((line, script[position:end]))
        line += script.count("\n", position, end)
        position = end
    return found


def has_command(text: str) -> bool:
    """Whether there is a command of psql in the text of a statement: outside of literals SQL has no backslash."""
    position = 0
    while position < len(text):
        kind, end = _token(text, position)
        if kind == "other" and text[position] == "\\":
            return True
        position = end
    return False


def _spans(script: str) -> Iterator[tuple[int, int, tuple[str, int]]]:
    """Where each statement begins and ends, in characters, from its first token to its last.

    With it come the name of its script, and where that begins. What begins with a backslash is a command of psql, to
    the end of the line.
    """
    first: int | None = None
    last = position = 0
    nesting, inside = _Nesting(), ("", 0)
    while position < len(script):
        kind, end = _token(script, position)
        begins = _NEXT_SCRIPT.fullmatch(script[position:end]) if kind == "line" else None
        if first is None and script[position] == "\\":
            first, last, kind, end = position, _end_of_line(script, position), "end", _end_of_line(script, position)
        if begins is not None or (kind == "end" and not nesting.parentheses and not nesting.blocks):
            if first is not None:
                yield first, last, inside
            first, nesting = None, _Nesting()
        elif kind not in _BETWEEN:
            first = position if first is None else first
            last = end
            nesting.see(script[position:end], kind == "word")
        inside = inside if begins is None else (begins.group(1), end + 1)
        position = end
    if first is not None:
        yield first, last, inside


def _end_of_line(script: str, position: int) -> int:
    match = _LINE.match(script, position)
    return len(script[: match.end()].rstrip()) if match else len(script)


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
