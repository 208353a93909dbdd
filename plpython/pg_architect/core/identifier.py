"""Identifiers, as PostgreSQL limits them."""

from __future__ import annotations

import re

NAME_BYTES = 63  # NAMEDATALEN - 1
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


def shown(*names: str) -> str:
    """A qualified name as it is written in SQL, but for keywords: it is for people to read."""
    return ".".join(name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"' for name in names)


def shortened(name: str, limit: int = NAME_BYTES) -> str:
    """The name cut to so many bytes of UTF-8, between two characters."""
    return name.encode()[:limit].decode(errors="ignore")
