"""Which index is the one that was built for a proposal, whatever others have done to it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from pg_architect.core.db import Database, Row, row_json
from pg_architect.improvement.admission import Action
from pg_architect.safety import index_identity


@dataclass(frozen=True, slots=True)
class Index:
    """The index that a proposal is about, as the catalogue has it now; ``display`` is its quoted, qualified name."""

    oid: int
    name: str
    display: str
    schema: str  # quoted
    table: str  # its table's quoted, qualified name
    is_valid: bool
    is_on_target: bool


_INDEX = """
    select c.oid::bigint as oid, c.relname::text as name, format('%I.%I', n.nspname, c.relname) as display,
           quote_ident(n.nspname) as schema, i.indrelid::regclass::text as table,
           i.indisvalid and i.indisready as is_valid,
           i.indrelid = $1::oid as is_on_target
      from pg_index as i
      join pg_class as c on c.oid = i.indexrelid
      join pg_namespace as n on n.oid = c.relnamespace"""


def built(db: Database, proposal: Row) -> Index | None:
    """What the statement that was handed out has built: with the rights of this owner nobody else gives it this name.

    On another table, if that was put in the place of the approved one.
    """
    rows = db.query(
        f"""{_INDEX} where c.relname = $2::name and c.relkind = 'i' and c.relpersistence <> 't'
              and (i.indrelid = $1::oid or c.relowner = to_regrole(quote_ident($3::text)))
              and not exists (select from pg_constraint as k where k.conindid = c.oid)
            order by is_on_target desc, oid limit 1""",
        proposal["relation_oid"],
        proposal["work_name"],
        proposal["relation_owner"],
    )
    return Index(**rows[0]) if rows else None


def ours(db: Database, proposal: Row) -> Index | None:
    """The index that was built. REINDEX CONCURRENTLY and ALTER TYPE make a new one of it, with its name and comment."""
    for row in _like_ours(
        db, proposal, "i.indexrelid = $2::oid or c.relname = $3::name or obj_description(c.oid, 'pg_class') = $4"
    ):
        index = Index(**row)
        if index.oid == int(proposal["created_index_oid"]):
            return index
        # A comment can be copied.
        if is_as_approved(db, proposal, index):
            db.query(
                """with moved as (update architect.proposal set created_index_oid = $2::oid where proposal_id = $1)
                   update architect.built_index set index_oid = $2::oid
                    where proposal_id = $1 and dropped_at is null""",
                proposal["proposal_id"],
                index.oid,
            )
            return index
    return None


def doubtful(db: Database, proposal: Row) -> Index | None:
    """An index of the same name and definition, when ours is not found: rebuilt without its comment, or another one."""
    found = (Index(**row) for row in _like_ours(db, proposal, "c.relname = $5::name"))
    return next((index for index in found if is_as_approved(db, proposal, index)), None)


def _like_ours(db: Database, proposal: Row, condition: str) -> list[Row]:
    return db.query(
        f"""{_INDEX} where i.indrelid = $1::oid and ({condition})
            order by i.indexrelid = $2::oid desc, c.relname = $3::name desc,
                     obj_description(c.oid, 'pg_class') = $4 desc, c.relname = $5::name desc""",
        proposal["relation_oid"],
        proposal["created_index_oid"],
        proposal["work_name"],
        tag(proposal),
        proposal["index_name"],
    )


def is_as_approved(db: Database, proposal: Row, index: Index) -> bool:
    return index_identity.makes(db, proposal["apply_sql"], row_json(proposal["objects"]), index.oid)


def tag(proposal: Row) -> str:
    return f"pg_architect proposal {proposal['proposal_id']}"


def rename(db: Database, index: Index, name: str, comment: str | None = None) -> Action:
    """Give it another name. What the old name means is looked up again when the lock is there: so the OID is compared.

    An index is dropped under a name that nobody else uses, because DROP INDEX CONCURRENTLY, too, looks the name up
    again after it has waited, and by then a migration may have put an index of its own there. The table is locked
    before: a migration that has waited for the build would else fail when it comes to this index.
    """
    new = db.query("select quote_ident($1) as name, quote_literal($2::text) as comment", name, comment)[0]
    statements = [
        f"lock table {index.table} in share update exclusive mode",
        f"alter index {index.display} rename to {new['name']}",
    ]
    if comment is not None:
        statements.append(f"comment on index {index.schema}.{new['name']} is {new['comment']}")
    return {
        "action": "rename",
        "statements": statements,
        "name": f"{index.schema}.{new['name']}",
        "index_oid": index.oid,
    }
