"""Notes every error message of ours that a test meets, so that golden/errors.txt can list them."""

from __future__ import annotations

import re

# "42501: pg_architect: …", also inside an SPI error.
_PREFIX = re.compile(r"^(?:spiexceptions\.\w+: )?pg_architect: ")
_PSQL = re.compile(r"^(?:psql:\S+ )?ERROR:  ([0-9A-Z]{5}): (.*)$", re.MULTILINE)

seen: set[str] = set()


def template(message: str) -> str:
    """The message without what differs from run to run: quoted names, numbers."""
    message = re.sub(r'"(?:[^"]|"")*"', '"…"', message)
    return re.sub(r"\b\d+(?:\.\d+)*\b", "N", message)


def record(sqlstate: str | None, message: str | None) -> None:
    """Note an error if it is one of ours."""
    if sqlstate and message and _PREFIX.match(message):
        seen.add(f"{sqlstate} {template(_PREFIX.sub('', message))}")


def record_psql(stderr: str) -> None:
    """Note the errors in what psql printed with VERBOSITY=verbose."""
    for sqlstate, message in _PSQL.findall(stderr):
        record(sqlstate, message)
