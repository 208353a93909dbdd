"""Identifiers, as PostgreSQL limits them."""

from __future__ import annotations

NAME_BYTES = 63  # NAMEDATALEN - 1


def shortened(name: str, limit: int = NAME_BYTES) -> str:
    """The name cut to so many bytes of UTF-8, between two characters."""
    return name.encode()[:limit].decode(errors="ignore")
