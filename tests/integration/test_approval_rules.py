"""Decisions about proposals: who, when, about exactly what, and that they stay as they were made."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from support import people
from support.cluster import Cluster
from support.people import ADMIN, APP, APPROVER, OPERATOR, Connection, insert_proposal, refused
from support.shop import until

INDEX = "create index concurrently thing_a on app.thing (a)"
OTHER = "create index concurrently thing_b on app.thing (a desc)"


@pytest.fixture
def superuser(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        people.make_people(connection)
        yield connection
        connection.execute("reset session authorization")
        connection.execute(f"revoke {APP} from architect_executor")


def state(connection: Connection, number: int) -> str:
    row = connection.execute("select state from architect.proposal where proposal_id = %s", (number,)).fetchone()
    assert row is not None
    return str(row[0])


def test_approval(cluster: Cluster, database: str, superuser: Connection) -> None:
    number = insert_proposal(superuser, OPERATOR)
    with cluster.connect(database, user=APPROVER) as approver:
        told = approver.execute("select architect.approve(%s, 'looks right')", (number,)).fetchone()
        assert told is not None
        assert f"sp_deploy_approved({number}" in told[0]
        refused(
            approver,
            f"select architect.approve({number}, 'x')",
            "55000",
            "is approved, it does not wait for a decision",
        )
        assert approver.execute(f"select architect.reject({number}, 'changed my mind')").fetchone() == ("rejected",)
        refused(approver, f"select architect.reject({number}, 'again')", "55000", "is rejected")
        refused(approver, f"select architect.approve({number}, 'x')", "55000", "is rejected")
    rows = superuser.execute(
        "select decision, a.requested_by, decided_by, self_approved, reason,"
        " expires_at > now() + interval '6 days', a.digest = p.digest"
        "  from architect.approval as a join architect.proposal as p using (proposal_id) order by approval_id"
    ).fetchall()
    assert [tuple(map(str, row)) for row in rows] == [
        ("approved", OPERATOR, APPROVER, "False", "looks right", "True", "True"),
        ("rejected", OPERATOR, APPROVER, "False", "changed my mind", "None", "True"),
    ]
    events = superuser.execute(
        "select from_state, to_state, session_user_name, detail from architect.proposal_event order by event_id"
    ).fetchall()
    assert events == [
        ("awaiting_approval", "approved", APPROVER, "looks right"),
        ("approved", "rejected", APPROVER, "changed my mind"),
    ]


@pytest.mark.parametrize(
    "closed", ["refused", "rejected", "expired", "superseded", "deploying", "deployed", "kept", "reverted", "failed"]
)
def test_what_is_decided_stays_decided(cluster: Cluster, database: str, superuser: Connection, closed: str) -> None:
    number = insert_proposal(superuser, OPERATOR, closed)
    with cluster.connect(database, user=APPROVER) as approver:
        refused(approver, f"select architect.approve({number}, 'x')", "55000", f"is {closed}")
        refused(approver, f"select architect.reject({number}, 'x')", "55000", f"is {closed}")
    assert state(superuser, number) == closed
    assert superuser.execute("select count(*) from architect.approval").fetchone() == (0,)


def test_a_dry_run_cannot_be_approved(cluster: Cluster, database: str, superuser: Connection) -> None:
    number = insert_proposal(superuser, OPERATOR, "proposed")
    with cluster.connect(database, user=APPROVER) as approver:
        refused(approver, f"select architect.approve({number}, 'x')", "55000", "is proposed")


@pytest.mark.parametrize("number", ["null", "0", "-1", "999999", "9223372036854775807"])
def test_unknown_proposals(cluster: Cluster, database: str, superuser: Connection, number: str) -> None:
    with cluster.connect(database, user=APPROVER) as approver:
        refused(approver, f"select architect.approve({number}, 'x')", "P0002", "there is no proposal")
        refused(approver, f"select architect.reject({number}, 'x')", "P0002", "there is no proposal")
        refused(approver, f"select architect.reject({number}, E' \\n')", "22023", "a rejection needs a reason")


@pytest.mark.parametrize("arguments", ["", ", null", ", ''", ", E' \\n'"])
def test_an_approval_needs_a_reason(cluster: Cluster, database: str, superuser: Connection, arguments: str) -> None:
    number = insert_proposal(superuser, OPERATOR)
    with cluster.connect(database, user=APPROVER) as approver:
        words = "an approval needs a reason"
        refused(approver, f"select architect.approve({number}{arguments})", "22023", words)
    assert state(superuser, number) == "awaiting_approval"


def test_who_asked_may_not_approve(cluster: Cluster, database: str, superuser: Connection) -> None:
    """Neither with a second membership, nor through SET ROLE: the session's own user counts."""
    people.make_role(superuser, "t_both", "architect_operator", "architect_approver")
    people.make_role(superuser, "t_alias", "architect_approver")
    superuser.execute("grant t_alias to t_both")
    number = insert_proposal(superuser, "t_both")
    with cluster.connect(database, user="t_both") as both:
        words = "was requested by t_both, who may not approve it"
        refused(both, f"select architect.approve({number}, 'mine')", "42501", words)
        for alias in ("t_alias", "architect_approver"):
            both.execute(f"set role {alias}")
            refused(both, f"select architect.approve({number}, 'mine')", "42501", words)
        # its own proposal can be taken back by who made it
        both.execute("reset role")
        both.execute(f"select architect.reject({number}, 'a mistake')")
    assert state(superuser, number) == "rejected"


def test_self_approval_needs_a_policy_and_is_recorded(cluster: Cluster, database: str, superuser: Connection) -> None:
    people.make_role(superuser, "t_both", "architect_operator", "architect_approver")
    with cluster.connect(database, user=ADMIN) as admin:
        admin.execute("select architect.set_policy('create_index', allow_self_approval => true)")
    number = insert_proposal(superuser, "t_both")
    with cluster.connect(database, user="t_both") as both:
        both.execute(f"select architect.approve({number}, 'alone here')")
    row = superuser.execute("select self_approved, decided_by, requested_by from architect.approval").fetchone()
    assert row == (True, "t_both", "t_both")


def test_a_proposal_of_another_database_is_history(cluster: Cluster, database: str, superuser: Connection) -> None:
    number = insert_proposal(superuser, OPERATOR)
    superuser.execute("""
        insert into architect.deployment
        select md5('x')::uuid, organization_id, 1, 'elsewhere', now() from architect.deployment
    """)
    superuser.execute("update architect.proposal set deployment_id = md5('x')::uuid")
    with cluster.connect(database, user=APPROVER) as approver:
        refused(approver, f"select architect.approve({number}, 'x')", "55000", "belongs to another database")
    with cluster.connect(database, user=OPERATOR) as operator:
        for call in (f"sp_deploy_approved({number}, '1 minute')", f"sp_rollback({number}, 'x')"):
            words = f"proposal {number} belongs to another database"
            refused(operator, f"call architect.{call}", "55000", words, hint="A restored proposal is history")
    superuser.execute("update architect.proposal set state = 'kept'")
    with cluster.connect(database, user=OPERATOR) as operator:
        refused(operator, f"select architect._begin_rollback({number}, 'x')", "P0002", "there is no proposal")
    assert state(superuser, number) == "kept"


@pytest.mark.parametrize("table", ["approval", "proposal_event"])
@pytest.mark.parametrize("who", ["postgres", "architect_owner"])
def test_history_is_immutable(cluster: Cluster, database: str, superuser: Connection, table: str, who: str) -> None:
    number = insert_proposal(superuser, OPERATOR)
    with cluster.connect(database, user=APPROVER) as approver:
        approver.execute(f"select architect.approve({number}, 'x')")
    superuser.execute(f"set role {who}")
    words = f"rows of architect.{table} are never changed"
    refused(superuser, f"update architect.{table} set proposal_id = proposal_id", "55000", words)
    refused(superuser, f"delete from architect.{table}", "55000", words)
    refused(superuser, f"truncate architect.{table}", "55000", words)
    superuser.execute("reset role")
    assert superuser.execute(f"select count(*) from architect.{table}").fetchone() == (1,)


TAMPERED = {
    "another index": "apply_sql = 'create index concurrently thing_a on app.thing using btree (b)'",
    "another statement": "apply_sql = 'drop table app.thing'",
    "with its digest": "apply_sql = 'create index concurrently thing_a on app.thing using btree (b)', digest ="
    " architect._digest('create index concurrently thing_a on app.thing using btree (b)', revert_sql, gate_objects,"
    " gate_version)",
    "another revert": "revert_sql = 'drop table app.thing'",
    "other objects": "gate_objects = jsonb_set(gate_objects, '{relation_oid}', '1')",
    "another gate": "gate_version = 'another'",
}


@pytest.mark.parametrize("what", sorted(TAMPERED))
def test_what_was_approved_is_what_is_deployed(
    cluster: Cluster, database: str, superuser: Connection, what: str
) -> None:
    """Not even a superuser's UPDATE slips another statement under an approval."""
    people.make_table(superuser)
    superuser.execute(f"select architect.enroll('{APP}')")
    number = people.approved_change(cluster, database, INDEX)
    superuser.execute(f"update architect.proposal set {TAMPERED[what]}")
    with cluster.connect(database, user=OPERATOR) as operator:
        call = f"call architect.sp_deploy_approved({number}, wait => '1 minute')"
        refused(operator, call, "55000", "is no longer what was approved")
    assert state(superuser, number) == "refused"
    assert superuser.execute("select count(*) from pg_index where indrelid = 'app.thing'::regclass").fetchone() == (1,)


def test_a_table_of_the_same_name_is_another_table(cluster: Cluster, database: str, superuser: Connection) -> None:
    people.make_table(superuser)
    superuser.execute(f"select architect.enroll('{APP}')")
    number = people.approved_change(cluster, database, INDEX)
    superuser.execute("drop table app.thing")
    people.make_table(superuser)
    with cluster.connect(database, user=OPERATOR) as operator:
        call = f"call architect.sp_deploy_approved({number}, wait => '1 minute')"
        refused(operator, call, "55000", "is no longer what was approved")
    assert state(superuser, number) == "refused"


def test_an_approval_expires(cluster: Cluster, database: str, superuser: Connection) -> None:
    people.make_table(superuser)
    superuser.execute("select architect.set_setting('approval_expiry', '0.00001')")  # 0.9 s
    number = people.approved_change(cluster, database, INDEX)
    superuser.execute("select pg_sleep(0.9)")
    with cluster.connect(database, user=OPERATOR) as operator:
        call = f"call architect.sp_deploy_approved({number}, wait => '1 minute')"
        refused(operator, call, "55000", "has expired")
    assert state(superuser, number) == "expired"


def test_withdrawn_rights_are_named(cluster: Cluster, database: str, superuser: Connection) -> None:
    people.make_table(superuser)
    number = people.approved_change(cluster, database, INDEX)
    with cluster.connect(database, user=OPERATOR) as operator:
        call = f"call architect.sp_deploy_approved({number}, wait => '1 minute')"
        words = f'architect_executor does not hold the rights of "{APP}"'
        refused(operator, call, "42501", words)
        superuser.execute(f"select architect.enroll('{APP}')")
        superuser.execute(f"select architect.withdraw('{APP}')")
        refused(operator, call, "42501", words)
    assert state(superuser, number) == "approved"


def until_nobody_executes(superuser: Connection) -> None:
    """The executor's session of a call that failed ends a moment later, and another call would meet it."""
    sessions = "select count(*) from pg_stat_activity where usename = 'architect_executor'"
    until(lambda: superuser.execute(sessions).fetchone() == (0,), "the executor's session is gone")


def test_ceilings(cluster: Cluster, database: str, superuser: Connection) -> None:
    """The policy's limits hold for what is approved already."""
    people.make_table(superuser)
    superuser.execute(f"select architect.enroll('{APP}')")
    number = people.approved_change(cluster, database, INDEX)
    call = f"call architect.sp_deploy_approved({number}, wait => '1 minute')"
    with cluster.connect(database, user=OPERATOR) as operator:
        superuser.execute("select architect.set_policy('create_index', max_changes_per_day => 0)")
        raise_it = "select architect.set_policy('create_index', max_changes_per_day => 1);"
        words = "0 changes were begun in the last 24 hours, the policy allows 0"
        refused(operator, call, "55000", words, hint=raise_it)
        until_nobody_executes(superuser)
        superuser.execute("select architect.set_policy('create_index', 'observe', max_changes_per_day => 5)")
        refused(operator, call, "55000", "the policy for create_index is observe: nothing is applied")
        until_nobody_executes(superuser)
        superuser.execute("select architect.set_policy('create_index', 'supervised')")
        superuser.execute("update architect.proposal set state = 'deployed'")
        other = people.approved_change(cluster, database, OTHER)
        call = f"call architect.sp_deploy_approved({other}, wait => '1 minute')"
        refused(operator, call, "55000", f"proposal {number} on the same table is not finished")
    assert state(superuser, other) == "approved"


def test_what_is_not_measured_says_where_to_look(cluster: Cluster, database: str, superuser: Connection) -> None:
    people.make_table(superuser)
    superuser.execute(f"select architect.enroll('{APP}')")
    number = people.approved_change(cluster, database, INDEX)
    superuser.execute("drop extension pg_stat_statements")
    with cluster.connect(database, user=OPERATOR) as operator:
        call = f"call architect.sp_deploy_approved({number}, wait => '1 minute')"
        refused(operator, call, "55000", "nothing could be measured", hint="select * from architect.check_health();")


def test_a_policy_that_only_observes(cluster: Cluster, database: str, superuser: Connection) -> None:
    """An approval is kept, and says with which command of whom it takes effect; so does what refuses to deploy."""
    people.make_table(superuser)
    superuser.execute(f"select architect.enroll('{APP}')")
    with cluster.connect(database, user=OPERATOR) as operator:
        number = operator.execute("select architect.propose_change(%s, 'it helps')", (INDEX,)).fetchone()[0]
    superuser.execute("select architect.set_policy('create_index', 'observe')")
    change = "An admin can change it: select architect.set_policy('create_index', autonomy_level => 'supervised');"
    deploy = f"call architect.sp_deploy_approved({number}, wait => '10 minutes');"
    with cluster.connect(database, user=APPROVER) as approver:
        told = approver.execute("select architect.approve(%s, 'looks right')", (number,)).fetchone()
    words = f"approved, but the policy for create_index is observe: nothing is applied. {change}"
    assert told == (f"{words} Then deploy with: {deploy}",)
    with cluster.connect(database, user=OPERATOR) as operator:
        with pytest.raises(psycopg.Error) as caught:
            operator.execute(deploy)
        assert caught.value.diag.message_primary == (
            "pg_architect: the policy for create_index is observe: nothing is applied"
        )
        assert caught.value.diag.message_hint == change
        assert state(superuser, number) == "approved"
        # What is proposed now is not put before the approvers, and they are told why.
        notices: list[str] = []
        operator.add_notice_handler(lambda told: notices.append(told.message_primary or ""))
        other = operator.execute("select architect.propose_change(%s, 'too')", (OTHER,)).fetchone()[0]
        assert state(superuser, other) == "proposed"
        assert notices == [
            "the policy for create_index is observe: the proposal is kept, but not put before the approvers. " + change
        ]
        for call in (f"select architect.approve({other}, 'x')", deploy.replace(str(number), str(other))):
            with pytest.raises(psycopg.Error) as caught:
                superuser.execute(call)
            assert caught.value.diag.message_hint == (
                "The policy for create_index is observe: nothing is put before the approvers. "
                f"{change} Then propose it again."
            )
        superuser.execute("select architect.set_policy('create_index', 'supervised')")
        operator.execute(deploy)
    assert state(superuser, number) in ("kept", "reverted")


def test_submitting_is_for_the_owner_of_a_proposal(cluster: Cluster, database: str, superuser: Connection) -> None:
    """The private functions behind the procedures check as well: operators can call them."""
    number = insert_proposal(superuser, "somebody_else", "proposed")
    with cluster.connect(database, user=OPERATOR) as operator:
        refused(operator, f"select architect._submit({number})", "42501", "was requested by somebody else")
        refused(operator, "select architect._submit(null)", "42501", "was requested by somebody else")
        refused(operator, "select architect._think(1)", "55000", "is not running in this session")
        refused(operator, f"select architect._begin_rollback({number}, 'x')", "55000", "there is nothing to roll back")
        refused(operator, "select architect._begin_rollback(99, 'x')", "P0002", "there is no proposal")
        operator.execute("select architect._end_run(1, 'completed', null, null)")  # nobody's run: nothing happens
    assert state(superuser, number) == "proposed"
