"""pg_stat_statements itself, whose columns and schema differ from server to server."""

from __future__ import annotations

from dataclasses import dataclass

from pg_architect.core import errors
from pg_architect.core.db import Database, Row, handled
from pg_architect.core.errors import ArchitectError

# A database without an encoding (SQL_ASCII) lets any bytes into the statistics, which all databases share.
CHARACTER_NOT_IN_REPERTOIRE = "22021"
# So do texts of other databases that cannot be converted at all, or not from that encoding.
UNREADABLE = (CHARACTER_NOT_IN_REPERTOIRE, "22P05", "42883")


@dataclass(frozen=True, slots=True)
class Source:
    """The extension as it is installed here."""

    schema: str  # quoted
    version: str
    names: frozenset[str]  # columns of pg_stat_statements, which differ by version


def missing(db: Database) -> str | None:
    """What is missing to take a snapshot, with the command that mends it."""
    rows = db.query("select current_setting('shared_preload_libraries') as libraries")
    if "pg_stat_statements" not in rows[0]["libraries"]:
        return "pg_stat_statements is not loaded: add it to shared_preload_libraries and restart the server"
    found = db.query(
        """
        select pg_catalog.quote_ident(n.nspname) as schema,
               pg_catalog.has_schema_privilege('architect_owner', n.oid, 'usage') as is_usable
          from pg_catalog.pg_extension as e join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
         where e.extname = 'pg_stat_statements'
        """
    )
    if not found:
        return "pg_stat_statements is not installed in this database: create extension pg_stat_statements"
    if not found[0]["is_usable"]:
        schema = found[0]["schema"]
        return f"the schema of pg_stat_statements is closed to us: grant usage on schema {schema} to architect_owner"
    return None


def source(db: Database) -> Source:
    """The extension; raises ArchitectError 55000 where it is missing or closed to us."""
    if lack := missing(db):
        what, _, how = lack.partition(": ")
        raise ArchitectError(errors.OBJECT_NOT_IN_PREREQUISITE_STATE, what, hint=f"To mend it: {how}.")
    rows = db.query(
        """
        select pg_catalog.quote_ident(n.nspname) as schema, e.extversion as version,
               array(select a.attname::text from pg_catalog.pg_attribute as a
                      where a.attrelid = c.oid and a.attnum > 0) as names
          from pg_catalog.pg_extension as e
          join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
          join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = 'pg_stat_statements'
         where e.extname = 'pg_stat_statements'
        """
    )
    return Source(rows[0]["schema"], rows[0]["version"], frozenset(rows[0]["names"]))


def read(db: Database, source: Source) -> list[Row]:
    """Top-level statements of this database by total time; the text only of those that are not known yet."""
    io_names = ("blk_read_time", "blk_write_time", "shared_blk_read_time", "shared_blk_write_time")
    io = " + ".join(f"p.{name}" for name in io_names if name in source.names) or "0"
    try:
        with db.subtransaction():
            return db.query(
                f"""
                select p.queryid, p.userid::bigint as role, pg_catalog.pg_get_userbyid(p.userid) as role_name,
                       case when s.statement_id is not null then null
                            -- Longer ones are not parsed, and reading them costs memory.
                            when octet_length(p.query) > 16384 then '(longer than 16 kB)'
                            -- A database without an encoding holds bytes that are no text to Python.
                            when pg_catalog.getdatabaseencoding() = 'SQL_ASCII'
                              then pg_catalog.regexp_replace(p.query, '[^\x01-\x7f]', '?', 'g')
                            else p.query end as query,
                       s.statement_id is not null as known,
                       p.calls, p.total_exec_time as total_ms, p.rows, p.shared_blks_hit, p.shared_blks_read,
                       p.temp_blks_read + p.temp_blks_written as temp_blocks, ({io})::float8 as io_ms,
                       p.wal_records, p.wal_fpi, p.wal_bytes::bigint as wal_bytes, p.stddev_exec_time as stddev_ms
                  from {source.schema}.pg_stat_statements as p
                  left join architect.statement as s
                    on s.deployment_id = architect._this_deployment() and s.query_id = p.queryid
                       and s.role_oid = p.userid
                 where p.dbid = (select oid from pg_catalog.pg_database where datname = current_database())
                   and p.toplevel and p.queryid is not null
                   and pg_catalog.pg_get_userbyid(p.userid) not like 'architect\\_%'
                 order by p.total_exec_time desc, p.queryid
                """
            )
    except ArchitectError as exc:
        if not handled(exc):
            raise
        if exc.sqlstate in UNREADABLE:
            raise ArchitectError(
                errors.OBJECT_NOT_IN_PREREQUISITE_STATE,
                "pg_stat_statements holds a text of another database that cannot be read in this one's encoding",
                hint="Forget the statements of other encodings: select pg_stat_statements_reset(0, s.dbid, 0) "
                "from (select distinct dbid from pg_stat_statements(false)) as s "
                "left join pg_database as d on d.oid = s.dbid "
                "where d.encoding is distinct from pg_char_to_encoding(getdatabaseencoding());",
            ) from exc
        hint = "Check that pg_stat_statements is in shared_preload_libraries and that the server was restarted."
        raise ArchitectError(errors.OBJECT_NOT_IN_PREREQUISITE_STATE, exc.message, hint=hint) from exc
