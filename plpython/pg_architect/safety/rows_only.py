"""Whether a statement that reads and writes rows does no more than that, and what it leaves of empty tables.

A function, trigger, rule, policy or default of a user may run anything, CREATE and DROP included: with one of these in
reach, nothing is known of the catalogue afterwards. Not proved here is that the statement is harmless.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pg_architect.safety import effects_on_tables as on_tables
from pg_architect.safety import parse
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.judgement import Refused
from pg_architect.safety.overlay import FIRST_NEW, Overlay
from pg_architect.safety.parse import Tree, kind_of
from pg_architect.safety.readers import object_queries
from pg_architect.safety.relation import Names

_WRITES = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
# Volatile, and all they do is to give a value.
_VALUES = [
    "clock_timestamp",
    "currval",
    "gen_random_uuid",
    "lastval",
    "nextval",
    "random",
    "setval",
    "timeofday",
    "uuidv7",
]

# $1: tables that are written, with what foreign keys and partitions write along; $2: tables that are read; $3 and $4:
# names of functions and operators. Code in C that is not volatile comes with extensions, and computes.
_MAY_RUN_MORE = """
with recursive family (oid) as (
    select unnest($1::text[]::oid[])
    union
    select x.oid
    from family f
    cross join lateral (
        select i.inhrelid from pg_catalog.pg_inherits i where i.inhparent = f.oid
        union all
        select k.conrelid from pg_catalog.pg_constraint k
        where k.contype = 'f' and k.confrelid = f.oid
            and (k.confdeltype not in ('a', 'r') or k.confupdtype not in ('a', 'r'))
    ) x (oid)
), part (classid, objid, relid) as (
    select 'pg_catalog.pg_attrdef'::regclass, d.oid, d.adrelid from pg_catalog.pg_attrdef d
    where d.adrelid in (select f.oid from family f)
    union all
    select 'pg_catalog.pg_constraint'::regclass, k.oid, k.conrelid from pg_catalog.pg_constraint k
    where k.conrelid in (select f.oid from family f) or k.contypid <> 0
    union all
    select 'pg_catalog.pg_class'::regclass, i.indexrelid, i.indrelid from pg_catalog.pg_index i
    where i.indrelid in (select f.oid from family f)
    union all
    select 'pg_catalog.pg_class'::regclass, f.oid, f.oid from family f
    union all
    select 'pg_catalog.pg_policy'::regclass, p.oid, p.polrelid from pg_catalog.pg_policy p
    where p.polrelid in (select f.oid from family f union select unnest($2::text[]::oid[]))
), code (oid, in_c) as (
    select p.oid, l.lanname in ('c', 'internal') and p.provolatile <> 'v'
    from pg_catalog.pg_proc p
    join pg_catalog.pg_language l on l.oid = p.prolang
    where p.oid >= 16384
)
select 1 as one
where exists (select from pg_catalog.pg_trigger t
        where t.tgrelid in (select f.oid from family f) and not t.tgisinternal)
    or exists (select from pg_catalog.pg_rewrite r where r.ev_class in (select f.oid from family f))
    or exists (select from pg_catalog.pg_class c
        where c.oid in (select f.oid from family f) and c.relkind not in ('r', 'p')
            or c.oid = any ($2::text[]::oid[]) and c.relkind not in ('r', 'p', 'm'))
    or exists (select from part p
        join pg_catalog.pg_depend d on d.classid = p.classid and d.objid = p.objid
        left join pg_catalog.pg_operator o on d.refclassid = 'pg_catalog.pg_operator'::regclass and o.oid = d.refobjid
        left join code c on c.oid = coalesce(o.oprcode, case
            when d.refclassid = 'pg_catalog.pg_proc'::regclass then d.refobjid end)
        where not c.in_c
            or p.classid = 'pg_catalog.pg_policy'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
                and d.refobjid <> p.relid)
    or exists (select from pg_catalog.pg_cast k join code c on c.oid = k.castfunc where not c.in_c)
    or exists (select from pg_catalog.pg_proc p
        where p.proname = any ($3::text[]::name[])
            and (p.oid >= 16384 or p.proname ~ 'to_xml'
                or p.provolatile = 'v' and p.proname <> all ($5::text[]::name[])))
    or exists (select from pg_catalog.pg_operator o join code c on c.oid = o.oprcode
        where o.oprname = any ($4::text[]::name[]) and not c.in_c)
"""


def note(overlay: Overlay, names: Names, tree: Tree) -> set[str] | None:
    """Note what a statement changes; the tables that it locks against writers, None if it may change more."""
    nodes = list(parse.walk(tree))
    if _does_more(nodes):
        return None
    written = [node.relation for node in nodes if kind_of(node) in _WRITES]
    if kind_of(tree) == "TruncateStmt":
        written += tree.relations
    elif kind_of(tree) == "CopyStmt" and tree.is_from:
        written.append(tree.relation)
    writes = {names.find(node.schemaname, node.relname) for node in written}
    reads = set(_read(nodes, names)) - writes
    if _changed_runs_code(overlay, writes | reads) or _runs_code(overlay, nodes, writes, reads):
        return None
    if kind_of(tree) == "TruncateStmt":
        return _displayed(overlay, writes)
    return set() if all(_fill(overlay, oid) for oid in writes) else None


def _displayed(overlay: Overlay, oids: Iterable[int]) -> set[str]:
    known = [
        overlay.tables[oid].row if oid in overlay.tables else overlay.db.query(sql.RELATION, oid)[0] for oid in oids
    ]
    return {str(row["display"]) for row in known if row is not None}


def _does_more(nodes: Iterable[Tree]) -> bool:
    """SELECT INTO makes a table; COPY runs a program, or its rows stand in the script, where they are not followed."""
    for node in nodes:
        kind = kind_of(node)
        if kind == "IntoClause" or (kind == "TruncateStmt" and node.behavior.name != "DROP_RESTRICT"):
            return True
        if kind == "CopyStmt" and (node.is_program or (node.is_from and node.filename is None)):
            return True
    return False


def _read(nodes: Sequence[Tree], names: Names) -> Iterable[int]:
    """All relations that are named; what a WITH query names may be one, too."""
    withs = {node.ctename for node in nodes if kind_of(node) == "CommonTableExpr"}
    for node in nodes:
        if kind_of(node) != "RangeVar":
            continue
        try:
            yield names.find(node.schemaname, node.relname)
        except Refused:
            if node.schemaname is not None or node.relname not in withs:
                raise


def _changed_runs_code(overlay: Overlay, oids: Iterable[int]) -> bool:
    """Whether the script has given code to a table, or made one of which too little is known."""
    if any(table.runs_code for table in overlay.tables.values()):
        # Foreign keys may lead there.
        return True
    return any(oid in overlay.tables and overlay.tables[oid].row is None for oid in oids) or any(
        oid >= FIRST_NEW and oid not in overlay.tables for oid in oids
    )


def _runs_code(overlay: Overlay, nodes: Sequence[Tree], writes: Iterable[int], reads: Iterable[int]) -> bool:
    functions, operators = _called(nodes)
    if overlay.functions & functions:
        return True
    old = [[str(oid) for oid in sorted(oids) if oid < FIRST_NEW] for oids in (writes, reads)]
    return bool(overlay.db.query(_MAY_RUN_MORE, *old, sorted(functions), sorted(operators), _VALUES))


def _called(nodes: Sequence[Tree]) -> tuple[set[str], set[str]]:
    """The names of functions and operators: t.f may mean f(t)."""
    functions: set[str] = set()
    operators: set[str] = set()
    for node in nodes:
        kind = kind_of(node)
        if kind == "FuncCall":
            functions |= set(parse.strings(node.funcname) or ())
        elif kind in ("ColumnRef", "A_Indirection"):
            fields = node.fields[1:] if kind == "ColumnRef" else node.indirection
            functions |= {item.sval for item in fields if kind_of(item) == "String"}
        elif kind in ("A_Expr", "SubLink", "SortBy"):
            named = node.name if kind == "A_Expr" else node.operName if kind == "SubLink" else node.useOp
            operators |= set(parse.strings(named) or ())
    return functions, operators


def _fill(overlay: Overlay, oid: int) -> bool:
    """A table that was empty has rows now, nobody knows how many; so have its partitions. False if it is not known."""
    leaves = [] if oid >= FIRST_NEW else [int(row["oid"]) for row in overlay.db.query(object_queries.LEAVES, oid)]
    for one in (oid, *leaves):
        row = overlay.tables[one].row if one in overlay.tables else overlay.db.query(sql.RELATION, one)[0]
        if row is None:
            return False
        if row["is_empty"]:
            table = on_tables.table(overlay, one)
            table.row = {**row, "is_empty": False, "never_analyzed": True, "rows": 0.0, "oid": one}
    return True
