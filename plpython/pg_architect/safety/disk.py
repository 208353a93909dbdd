"""What the operating system says about the server's disk."""

from __future__ import annotations

import os

from pg_architect.core.db import Database


def free_bytes(_db: Database) -> int:
    """Bytes that an unprivileged process may still use where the data directory lies: a backend works in it."""
    disk = os.statvfs(".")
    return disk.f_bavail * disk.f_frsize
