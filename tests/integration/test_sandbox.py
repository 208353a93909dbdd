"""What the planner's functions do when the proof is overtaken: an owner adds an index expression after it was made."""

from __future__ import annotations

import psycopg
import pytest

from pg_architect.safety.sandbox import read_only
from support.cluster import Cluster

# The function runs when the table is planned. It tries to write, and to leave a trigger behind that fires at commit
# with the rights of the session. An immutable function may not write itself, but it may call one that does.
EVIL = """
create table trace (who text);
create sequence numbers;
grant insert on trace to public;
create table target (a int);
insert into target select generate_series(1, 1000);
grant select on target to architect_planner;
create function leave_trace() returns trigger language plpgsql as $$
begin insert into public.trace values (session_user); return null; end $$;
create function do_evil() returns void language plpgsql as $$
begin
  begin
    insert into public.trace values ('at once');
  exception when others then null; end;
  begin
    perform nextval('public.numbers');
  exception when others then null; end;
  begin
    create temporary table bait (a int);
    create constraint trigger spring after insert on bait deferrable initially deferred
      for each row execute function public.leave_trace();
    insert into bait values (1);
  exception when others then null; end;
  perform pg_advisory_lock(4711);
end $$;
create function evil(int) returns int language plpgsql immutable as $$
begin perform public.do_evil(); return 1; end $$;
analyze target;
"""
QUERY = "select a from public.target where a = 1"
STATEMENTS = f'"statements": [{{"id": 1, "text": "{QUERY}", "sets": [[]]}}]'
INDEXES = '"indexes": ["create index on public.target (a)"]'
PLANNERS = {
    "explain": f"architect._planner_explain('{{{STATEMENTS}}}')",
    "what_if": f"architect._planner_what_if('{{{STATEMENTS}, {INDEXES}}}')",
    "replay": f"architect._planner_replay('{QUERY}', '{{}}', '{{}}')",
}


@pytest.mark.parametrize("name", PLANNERS)
def test_an_index_expression_added_after_the_proof_leaves_nothing(cluster: Cluster, database: str, name: str) -> None:
    with cluster.connect(database) as owner:
        owner.execute(EVIL)
        owner.execute("create index on target ((a + evil(1)))")
        owner.execute("delete from trace; alter sequence numbers restart")
    with cluster.connect(database) as session:
        session.execute(f"select {read_only(PLANNERS[name])}")
        # It did run: the sandbox held, not the planner's laziness.
        assert session.execute("select count(*) > 0 from pg_locks where objid = 4711").fetchone() == (True,)
        assert session.execute("select count(*) from trace").fetchone() == (0,)
        assert session.execute("select count(*) from pg_class where relname = 'bait'").fetchone() == (0,)
        # It could not write: no rollback would have taken this back.
        assert session.execute("select is_called from numbers").fetchone() == (False,)
        # and the session can write again
        session.execute("insert into trace values ('afterwards')")


def test_rights_are_lent_and_never_kept(cluster: Cluster, database: str) -> None:
    """architect_planner can do nothing by itself, and a loan cannot be committed."""
    with cluster.connect(database) as superuser:
        superuser.execute("create role lender_a; create table secret (a int)")
        superuser.execute("create table target (a int); alter table target owner to lender_a")
        superuser.execute("grant usage on schema public to lender_a")
        lend = "select architect._lend_rights('lender_a'::regrole, array['target'::regclass]::oid[])"
        lent = "select has_table_privilege('architect_planner', 'target', 'select')"
        assert superuser.execute(lent).fetchone() == (False,)
        with pytest.raises(psycopg.errors.InvalidTransactionTermination):
            superuser.execute(lend)
        assert superuser.execute(lent).fetchone() == (False,)
        with superuser.transaction(force_rollback=True):
            superuser.execute(lend)
            assert superuser.execute(lent).fetchone() == (True,)
            wrong = "select has_table_privilege('architect_planner', 'secret', 'select')"
            assert superuser.execute(wrong).fetchone() == (False,)
        assert superuser.execute(lent).fetchone() == (False,)
        superuser.execute("drop table target, secret; drop owned by lender_a; drop role lender_a")


def test_a_superuser_lends_nothing_of_their_own(cluster: Cluster, database: str) -> None:
    """What a superuser ran is planned with the rights of the tables' owners; a mixture is refused."""
    with cluster.connect(database) as superuser:
        superuser.execute("create role lender; create schema others authorization lender")
        superuser.execute("create table own (a int); create table theirs (a int); alter table theirs owner to lender")
        superuser.execute("create table others.placed (a int)")

        def lend(*tables: str) -> None:
            names = ", ".join(f"'{name}'::regclass" for name in tables)
            superuser.execute(f"select architect._lend_rights(10, array[{names}]::oid[])")

        for tables, words in (
            (("own", "theirs"), "a superuser and of others"),
            (("others.placed",), "others could replace"),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=words):
                lend(*tables)
        with superuser.transaction(force_rollback=True):
            lend("theirs")
            reads = "select has_table_privilege('architect_planner', %s, 'select')"
            assert superuser.execute(reads, ["theirs"]).fetchone() == (True,)
            assert superuser.execute(reads, ["pg_authid"]).fetchone() == (False,)
        superuser.execute("drop schema others cascade; drop table own, theirs; drop owned by lender; drop role lender")


def test_the_same_without_the_sandbox_does_harm(cluster: Cluster, database: str) -> None:
    """The attack works on a plain EXPLAIN, so the tests above can fail."""
    with cluster.connect(database) as session:
        session.execute(EVIL)
        session.execute("create index on target ((a + evil(1)))")
        session.execute("delete from trace")
    with cluster.connect(database) as session:
        session.execute("explain select a from target where a = 1")
        assert session.execute("select count(*) from trace").fetchone() != (0,)


@pytest.mark.parametrize("call", [*PLANNERS.values(), "architect._planner_parameter_types('select 1')"])
def test_nothing_is_planned_where_it_could_write(cluster: Cluster, database: str, call: str) -> None:
    with cluster.connect(database) as session:
        session.execute("create table target (a int); grant select on target to architect_planner")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="in a transaction that may write"):
            session.execute(f"select {call}")
        session.execute(f"select {read_only(call)}")


def test_every_function_of_the_planner_is_known_here(cluster: Cluster, database: str) -> None:
    with cluster.connect(database) as session:
        rows = session.execute("select proname from pg_proc where proowner = 'architect_planner'::regrole order by 1")
        assert [name for (name,) in rows] == [
            f"_planner_{name}" for name in ("explain", "parameter_types", "replay", "what_if")
        ]
