"""The text of index statements: names, quoting, and the one literal that a partial index may need."""

from __future__ import annotations

import hashlib

from pg_architect.advisor.candidates import Candidate, Key, Predicate
from pg_architect.core.db import Database
from pg_architect.core.identifier import NAME_BYTES, shortened
from pg_architect.telemetry.distribution import is_number
from pg_architect.telemetry.plans import literal
from pg_architect.telemetry.tables import Table

SUFFIX = "_architect_idx"


def quoted(name: str) -> str:
    """An identifier in quotes, whatever it is."""
    return '"' + name.replace('"', '""') + '"'


def create_statement(candidate: Candidate, table: Table) -> str:
    """CREATE INDEX without a name, for the what-if."""
    where = f" where {_condition(candidate.predicate, table)}" if candidate.predicate else ""
    keys = ", ".join(quoted(key.column) + _direction(key) for key in candidate.keys)
    return f"create index on {quoted(table.schema_name)}.{quoted(table.name)} using btree ({keys}){where}"


def concurrent_statement(db: Database, candidate: Candidate, table: Table, name: str) -> tuple[str, str | None]:
    """The statement to apply, quoted only where it must be, and its predicate."""
    names = _quoted_as_needed(db, [table.schema_name, table.name, name, *candidate.columns])
    keys = ", ".join(names[key.column] + _direction(key) for key in candidate.keys)
    predicate = None
    if candidate.predicate is not None:
        names |= _quoted_as_needed(db, [candidate.predicate.column])
        predicate = _condition(candidate.predicate, table, names[candidate.predicate.column])
    where = f" where {predicate}" if predicate else ""
    target = f"{names[table.schema_name]}.{names[table.name]}"
    return f"create index concurrently {names[name]} on {target} using btree ({keys}){where}", predicate


def drop_statement(db: Database, table: Table, name: str) -> str:
    names = _quoted_as_needed(db, [table.schema_name, name])
    return f"drop index concurrently {names[table.schema_name]}.{names[name]}"


def index_name(candidate: Candidate, table: Table, attempt: int = 0) -> str:
    """A name that says what it is, at most 63 bytes; a hash tells cut and partial ones apart."""
    plain = "_".join([table.name, *candidate.columns])
    whole = f"{plain}{SUFFIX}"
    if attempt == 0 and candidate.predicate is None and len(whole.encode()) <= NAME_BYTES:
        return whole
    told = repr(
        (
            table.schema_name,
            table.name,
            candidate.keys,
            candidate.predicate and (candidate.predicate.column, candidate.predicate.value),
            attempt,
        )
    )
    tail = f"_{hashlib.sha256(told.encode()).hexdigest()[:8]}{SUFFIX}"
    return shortened(plain, NAME_BYTES - len(tail)) + tail


def free_name(db: Database, candidate: Candidate, table: Table) -> str:
    """The first of its names that no relation of the schema has."""
    attempt = 0
    while True:
        name = index_name(candidate, table, attempt)
        taken = db.query(
            """
            select 1 as found from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
             where n.nspname = $1 and c.relname = $2
            """,
            table.schema_name,
            name,
        )
        if not taken:
            return name
        attempt += 1


def _quoted_as_needed(db: Database, names: list[str]) -> dict[str, str]:
    rows = db.query("select n as name, pg_catalog.quote_ident(n) as quoted from unnest($1::text[]) as n", names)
    return {row["name"]: row["quoted"] for row in rows}


def _direction(key: Key) -> str:
    if key.descending:
        return " desc" if key.nulls_first else " desc nulls last"
    return " nulls first" if key.nulls_first else ""


def _condition(predicate: Predicate, table: Table, name: str | None = None) -> str:
    column = name or quoted(predicate.column)
    if predicate.value is None:
        return f"{column} is null"
    kind = table.columns[predicate.column]
    bare = kind.category == "B" or (is_number(kind.type) and predicate.value.lstrip("-").replace(".", "", 1).isdigit())
    value = predicate.value
    if not bare:
        plain = "'" + value.replace("'", "''") + "'"
        value = literal(value) if "\\" in value else plain
    return f"{column} = {value}"
