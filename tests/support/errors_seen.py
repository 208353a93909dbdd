"""Notes every error message of ours that a test meets: each one in golden/errors.txt must be among them."""

from __future__ import annotations

import re

# Raised in Python: the message says so, also inside an SPI error. Raised in PL/pgSQL: the context does.
_PREFIX = re.compile(r"^(?:spiexceptions\.\w+: )?pg_architect: ")
_RAISE = re.compile(r"^(?:CONTEXT:  )?PL/pgSQL function (?:architect\.|inline_code_block ).* at RAISE", re.MULTILINE)
_PSQL = re.compile(r"^(?:psql:\S+ )?ERROR:  ([0-9A-Z]{5}): (.*)$", re.MULTILINE)

seen: set[str] = set()


def record(sqlstate: str | None, message: str | None, context: str | None) -> None:
    """Note an error if it is one of ours."""
    if sqlstate and message and (_PREFIX.match(message) or _RAISE.search(context or "")):
        seen.add(_PREFIX.sub("", message))


def record_psql(stderr: str) -> None:
    """Note the errors in what psql printed with VERBOSITY=verbose."""
    for block in re.split(r"^(?=(?:psql:\S+ )?ERROR:  )", stderr, flags=re.MULTILINE):
        if match := _PSQL.match(block):
            record(match[1], match[2], context=block[match.end() :])
