"""The session that a DBA has: look, propose, approve, deploy, measure, keep or revert, roll back."""

from __future__ import annotations

import re

import psycopg
import pytest
from psycopg.rows import dict_row

from support.cycle import only_customers, proposals, run
from support.shop import BY_CUSTOMER, CUSTOMER_INDEX, DANA, OPEN, UNUSED_INDEX, Shop

SEED_COLUMNS = {
    "analysis_results", "generated_code", "target_file", "change_type", "risk_level", "git_commit_hash",
    "success_score", "tests_passed", "tests_failed", "performance_delta", "was_deployed", "was_rolled_back",
    "started_at", "completed_at", "rolled_back_at",
}  # fmt: skip

# Everything that is not pg_architect's own: objects, indexes, statistics of the planner, settings, and all rows.
OUTSIDE = """
select 'relations', md5(string_agg(c::text, ',' order by c.oid))
  from pg_class as c where relnamespace not in (select oid from pg_namespace where nspname in ('architect', 'pg_toast'))
   and relnamespace::regnamespace::text !~ '^pg_(toast_)?temp'
union all select 'indexes', md5(string_agg(i::text, ',' order by i.indexrelid)) from pg_index as i
   join pg_class as c on c.oid = i.indexrelid
   where relnamespace not in (select oid from pg_namespace where nspname = 'architect')
union all select 'statistics', md5(string_agg(s::text, ',' order by starelid, staattnum)) from pg_statistic as s
   join pg_class as c on c.oid = starelid
   where relnamespace not in (select oid from pg_namespace where nspname = 'architect')
union all select 'settings', md5(string_agg(s::text, ',')) from pg_db_role_setting as s
union all select 'routines', md5(string_agg(p::text, ',' order by oid)) from pg_proc as p
union all select 'orders', md5(string_agg(t::text, ',' order by id)) from app.orders as t
union all select 'trap', md5(string_agg(t::text, ',' order by id)) from app.trap as t
union all select 'quiet', md5(string_agg(t::text, ',' order by id)) from app.quiet as t
"""


def test_a_dry_run_changes_nothing_and_says_what_it_would_do(shop: Shop) -> None:
    before = dict(shop.rows(OUTSIDE))
    run_id, next_step, notices = run(shop, "max_changes_per_run => 5, debug => true")
    assert dict(shop.rows(OUTSIDE)) == before
    phases = ["analyze", "diagnose", "generate", "gate", "record"]
    took = f"run {run_id} took"
    assert list(dict.fromkeys(notice.split(":")[0] for notice in notices)) == [*phases, took, "next step"]
    assert len(set(notices)) == len(notices)
    (times,) = [notice.removeprefix(f"{took}: ") for notice in notices if notice.startswith(took)]
    assert re.fullmatch(", ".join(rf"{phase} \d+\.\d\d s" for phase in phases), times), times
    assert "dry_run => false" in next_step
    found = proposals(shop)
    assert len(found) >= 3
    assert {one["state"] for one in found} == {"proposed"}
    assert shop.rows("select distinct phase from architect.run_log where run_id = %s order by 1", run_id) == [
        ("analyze",), ("diagnose",), ("gate",), ("generate",), ("record",)
    ]  # fmt: skip
    # Nothing of it can be applied: a dry run only proposes.
    error = shop.begin_deployment(found[0]["proposal_id"]).failure()
    assert "is proposed, it cannot be deployed" in (error.diag.message_primary or "")
    with shop.connect("ines") as ines, pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        ines.execute("select architect.approve(%s, 'x')", (found[0]["proposal_id"],))


def test_a_proposal_says_why_with_true_numbers(shop: Shop) -> None:
    only_customers(shop)
    run(shop)
    (one,) = proposals(shop)
    assert one["apply_sql"] == "CREATE INDEX CONCURRENTLY orders_customer_architect_idx ON app.orders (customer)"
    assert one["revert_sql"].lower() == "drop index concurrently app.orders_customer_architect_idx"
    assert "app.orders" in one["title"]
    assert "20 calls" in one["why"]
    assert "40,000 rows" in one["why"]  # it reads the whole table …
    assert "return 13" in one["why"]  # … of 3000 customers
    assert one["hypothesis"]
    # Customers are evenly spread: all parameter sets say the same, which is no interval.
    assert (one["predicted_low"], one["predicted_high"]) == (None, None)
    assert 80 < one["predicted_reduction_percent"] <= 100
    assert "HypoPG" in one["predicted_how"]
    assert one["impact"] == "high"
    assert (one["risk_level"], one["gate_verdict"]) == ("low", "needs_approval")
    assert "risk low: built without blocking writes" in said_by_gate(shop)
    assert one["write_cost"]
    assert one["estimated_how"]
    shop.rows("create index on app.orders (customer)")
    size = shop.value("select pg_relation_size('app.orders_customer_idx')")
    assert 0.5 * size < one["prediction"]["size_bytes"] < 2 * size


def said_by_gate(shop: Shop) -> str:
    return str(shop.value("select message from architect.run_log where phase = 'gate'"))


def test_one_risk_is_said(shop: Shop) -> None:
    """The one that is stored: the gate's own is about the statement only."""
    only_customers(shop)
    with shop.connect("app") as app:
        for n in range(60):
            app.execute("update app.orders set customer = customer where id = %s", (n,))
    run(shop)
    (one,) = proposals(shop)
    assert one["risk_level"] == "high"
    assert f"needs_approval, risk high: {one['prediction']['risk_reason']} (" in said_by_gate(shop)


def test_that_a_person_must_approve_cannot_be_waived(shop: Shop) -> None:
    _, _, notices = run(shop, "require_human_approval => false")
    assert any("require_human_approval => false changes nothing" in notice for notice in notices)
    assert not any("require_human_approval" in notice for notice in run(shop)[2])


def test_a_prediction_has_an_interval_where_the_values_differ(shop: Shop) -> None:
    """Half of the orders belong to 60 customers: the index saves less with them than with the others."""
    shop.rows("update app.orders set customer = id % 60 where id % 2 = 0")
    shop.rows("vacuum full analyze app.orders")
    shop.rows("select count(*) from public.pg_stat_statements_reset()")
    shop.work("select sum(total) from app.orders where customer = {}", times=20)
    run(shop)
    (one,) = proposals(shop)
    assert 0 < one["predicted_low"] < one["predicted_reduction_percent"] <= one["predicted_high"] <= 100


def test_the_whole_session(shop: Shop) -> None:
    only_customers(shop)
    run_id, next_step, _ = run(shop, "dry_run => false")
    (one,) = proposals(shop)
    proposal = one["proposal_id"]
    assert (one["state"], one["run_id"], one["requested_by"]) == ("awaiting_approval", run_id, DANA)
    decide = f"select architect.approve({proposal}, 'reason'); or: select architect.reject({proposal}, 'reason');"
    assert next_step == f"a member of architect_approver decides: {decide}"
    assert shop.indexes() == {}
    with shop.connect("ines") as ines:
        query = "select proposal_id, requested_by, approve_with from architect.pending_approvals"
        (pending,) = ines.execute(query).fetchall()
        assert pending[:2] == (proposal, DANA)
        (told,) = ines.execute(pending[2]).fetchone() or ("",)
        assert f"sp_deploy_approved({proposal}" in told
        assert ines.execute("select count(*) from architect.pending_approvals").fetchone() == (0,)
    call = shop.begin_deployment(proposal)
    verdict, next_step = call.result()
    assert verdict == "improved", shop.explanation(proposal)
    assert any(notice.startswith("executor: CREATE INDEX CONCURRENTLY") for notice in call.notices)
    assert any(notice.startswith("verdict: improved: ") for notice in call.notices)
    assert f"sp_rollback({proposal}" in next_step
    assert shop.indexes() == {"orders_customer_architect_idx": True}
    assert shop.value("select relowner::regrole::text from pg_class where relname ~ 'customer_arch'") == "app_owner"
    check_history(shop, proposal)
    check_rollback(shop, proposal)


def check_history(shop: Shop, proposal: int) -> None:
    with shop.connect("ines") as ines, psycopg.Cursor(ines, row_factory=dict_row) as cursor:
        (row,) = cursor.execute("select * from architect.improvement_history").fetchall()
        (statement,) = cursor.execute("select * from architect.measurement_statements where kind = 'read'").fetchall()
        (success,) = cursor.execute("select * from architect.improvement_success").fetchall()
    assert row.keys() >= SEED_COLUMNS
    assert (row["improvement_id"], row["state"], row["verdict"]) == (proposal, "kept", "improved")
    assert (row["change_type"], row["generator"], row["requested_by"]) == ("create_index", "rules", DANA)
    assert (row["decision"], row["decided_by"], row["decision_reason"]) == ("approved", "ines", "reason")
    assert row["generated_code"].startswith("CREATE INDEX CONCURRENTLY orders_customer_architect_idx")
    assert row["analysis_results"]["statements"] >= 1
    assert (row["was_deployed"], row["was_rolled_back"], row["rolled_back_at"]) == (True, False, None)
    assert row["started_at"] < row["completed_at"]
    assert 80 < row["performance_low"] <= row["performance_delta"] <= row["performance_high"] < 100
    assert row["success_score"] > 0.95
    assert 0 < row["minimum_detectable_effect"] < 100
    assert "pg_architect" in row["versions"]
    assert statement["buffers_before"] > 20 * statement["buffers_after"]
    assert statement["plan_changed"]
    assert (success["attempts"], success["improved"], success["rollbacks"]) == (1, 1, 0)
    # Not measured, not made up.
    assert [row[name] for name in ("git_commit_hash", "tests_passed", "tests_failed")] == [None] * 3


def check_rollback(shop: Shop, proposal: int) -> None:
    error = shop.begin(f"call architect.sp_rollback({proposal}, ' ')").failure()
    assert error.sqlstate == "22023"
    state, next_step = shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')").result()
    assert state == "reverted"
    assert shop.indexes() == {}
    assert shop.rows(next_step) != []
    assert shop.rows(
        "select state, was_rolled_back, rolled_back_at is not null, verdict from architect.improvement_history"
    ) == [("reverted", True, True, "improved")]
    assert shop.value("select detail from architect.proposal_event where to_state = 'reverting'") == "maintenance"
    error = shop.begin(f"call architect.sp_rollback({proposal}, 'again')").failure()
    assert "there is nothing to roll back" in (error.diag.message_primary or "")


def test_the_next_step_holds_whole_statements(shop: Shop) -> None:
    _, next_step, _ = run(shop, "dry_run => false, max_changes_per_run => 5")
    words, _, rest = next_step.partition(": ")
    assert words == f"a member of architect_approver decides about each of {len(proposals(shop))}"
    look, approve, reject = re.split("; (?:then|or): ", rest)
    with shop.connect("ines") as ines:
        assert len(ines.execute(look).fetchall()) == len(proposals(shop))
        ines.execute(approve)
        assert ines.execute(reject).fetchone() == ("rejected",)


def test_what_is_open_or_was_undone_lately_is_not_proposed_again(shop: Shop) -> None:
    only_customers(shop)
    run(shop, "dry_run => false")
    (one,) = proposals(shop)
    proposal = one["proposal_id"]
    for state in ("awaiting_approval", "kept", "reverted"):
        if state == "kept":
            shop.approve(proposal)
            assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
        elif state == "reverted":
            shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')").result()
            shop.work(BY_CUSTOMER, times=20)
        assert shop.state(proposal) == state
        run_id, next_step, notices = run(shop, "dry_run => false")
        assert len(proposals(shop)) == 1, state
        assert f"run_log where run_id = {run_id}" in next_step
        if state != "kept":  # with the index in place nothing is slow
            words = {"awaiting_approval": "awaiting approval", "reverted": "rolled back by a person"}[state]
            assert any("left out" in notice and words in notice for notice in notices), notices
    shop.set(retry_after="0")
    run(shop)
    assert len(proposals(shop)) == 2


def test_a_later_run_supersedes_a_dry_one(shop: Shop) -> None:
    only_customers(shop)
    run(shop)
    run(shop, "dry_run => false")
    assert [one["state"] for one in proposals(shop)] == ["superseded", "awaiting_approval"]


def test_a_policy_that_only_observes(shop: Shop) -> None:
    shop.rows("select architect.set_policy('create_index', autonomy_level => 'observe')")
    _, next_step, _ = run(shop, "dry_run => false")
    assert "observe" in next_step
    assert {one["state"] for one in proposals(shop)} == {"proposed"}
    # Made stricter after an approval, it holds too.
    shop.rows("select architect.set_policy('create_index', autonomy_level => 'supervised')")
    proposal = shop.approved()
    shop.rows("select architect.set_policy('create_index', autonomy_level => 'observe')")
    error = shop.begin_deployment(proposal).failure()
    assert "observe: nothing is applied" in (error.diag.message_primary or "")
    assert shop.indexes() == {}


def test_no_more_changes_a_day_than_the_policy_allows(shop: Shop) -> None:
    shop.rows("select architect.set_policy('create_index', max_changes_per_day => 1)")
    first, second = shop.approved(), shop.approved(UNUSED_INDEX)
    shop.deploy(first)
    error = shop.begin_deployment(second).failure()
    assert error.diag.message_primary == ("pg_architect: 1 change was begun in the last 24 hours, the policy allows 1")
    assert shop.state(second) == "approved"
    shop.rows("select architect.set_policy('create_index', max_changes_per_day => 2)")
    assert shop.deploy(second)[0] == "equivalent", shop.explanation(second)


GREETINGS = 'app."Grüße ""x"""'


def test_names_that_need_quotes(shop: Shop) -> None:
    for statement in (
        f"""create table {GREETINGS} (id int primary key, "größe" int not null, "it's" text)""",
        f"insert into {GREETINGS} select i, (i * 7919) % 3000, repeat('ü', 40) from generate_series(1, 40000) as i",
        f"alter table {GREETINGS} owner to app_owner",
        f"grant select on {GREETINGS} to app",
        f"vacuum analyze {GREETINGS}",
        "select count(*) from public.pg_stat_statements_reset()",
    ):
        shop.rows(statement)
    shop.work(f'select id from {GREETINGS} where "größe" = {{}}', times=20)
    run(shop, "dry_run => false")
    (one,) = proposals(shop)
    assert f'ON {GREETINGS} ("größe")' in one["apply_sql"]
    proposal = shop.approve(one["proposal_id"])
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    assert list(shop.indexes(GREETINGS).values()) == [True]
    assert shop.begin(f"call architect.sp_rollback({proposal}, 'Rückbau')").result()[0] == "reverted"
    assert shop.indexes(GREETINGS) == {}


def test_a_partitioned_table_is_said_plainly(shop: Shop) -> None:
    for statement in (
        "create table app.logs (id int not null, kind int not null, note text) partition by range (id)",
        "create table app.logs_1 partition of app.logs for values from (0) to (20000)",
        "create table app.logs_2 partition of app.logs for values from (20000) to (50000)",
        "insert into app.logs select i, (i * 7919) % 3000, repeat('x', 60) from generate_series(1, 40000) as i",
        "alter table app.logs owner to app_owner",
        "grant select on app.logs to app",
        "analyze app.logs",
        "select count(*) from public.pg_stat_statements_reset()",
    ):
        shop.rows(statement)
    shop.work("select id from app.logs where kind = {}", times=20)
    _, next_step, notices = run(shop)
    assert proposals(shop) == []
    assert "nothing to do" in next_step
    assert any("partitioned" in notice and "app.logs" in notice for notice in notices), notices
    with shop.connect(DANA) as dana, pytest.raises(psycopg.errors.FeatureNotSupported) as caught:
        dana.execute("select architect.propose_change('create index concurrently i on app.logs (kind)', 'faster')")
    assert "partitioned" in (caught.value.diag.message_detail or "")


def test_a_partial_index_on_a_rare_value(shop: Shop) -> None:
    shop.rows("select count(*) from public.pg_stat_statements_reset()")
    shop.work(OPEN, times=20)
    run(shop, "dry_run => false")
    (one,) = proposals(shop)
    assert one["apply_sql"].endswith("WHERE status = CAST('open' AS text)")
    assert one["prediction"]["contains_literal"] is True
    proposal = shop.approve(one["proposal_id"])
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    (name,) = shop.indexes()
    assert shop.value(f"select pg_relation_size('app.{name}')") <= 2 * 8192


ODD_SETTINGS = {
    "default_transaction_isolation": "serializable",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "datestyle": "German",
    "intervalstyle": "iso_8601",
    "timezone": "Asia/Kathmandu",
    "extra_float_digits": "-15",
    "search_path": "",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "50ms",
    "row_security": "off",
    "plan_cache_mode": "force_generic_plan",
    "transform_null_equals": "on",
    "bytea_output": "escape",
}


def test_settings_that_a_database_may_have(shop: Shop) -> None:
    """Neither the caller's session nor the executor's depends on what the database sets for its sessions."""
    for name, value in ODD_SETTINGS.items():
        shop.rows(f"alter database {shop.name} set {name} = '{value}'")
    only_customers(shop)
    run(shop, "dry_run => false")
    proposal = shop.approve(shop.value("select proposal_id from architect.pending_approvals"))
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)
    assert shop.begin(f"call architect.sp_rollback({proposal}, 'maintenance')").result()[0] == "reverted"
    other = shop.propose(UNUSED_INDEX)
    with shop.connect("ines") as ines:
        assert ines.execute("select architect.reject(%s, 'no')", (other,)).fetchone() == ("rejected",)


def test_an_empty_workload(shop: Shop) -> None:
    shop.rows("select count(*) from public.pg_stat_statements_reset()")
    run_id, next_step, notices = run(shop)
    assert proposals(shop) == []
    assert str(run_id) in next_step
    assert any(notice.startswith("generate: ") for notice in notices)


def test_a_person_s_own_change_is_judged_alike(shop: Shop) -> None:
    proposal = shop.propose()
    assert shop.state(proposal) == "awaiting_approval"
    with shop.connect(DANA) as dana, pytest.raises(psycopg.errors.FeatureNotSupported):
        dana.execute("select architect.propose_change('drop table app.orders', 'who needs it')")
    assert CUSTOMER_INDEX.split()[3] in shop.value("select apply_sql from architect.proposals")
