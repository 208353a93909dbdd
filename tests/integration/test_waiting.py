"""Calls that wait, for a decision or for older transactions, but not for ever."""

from __future__ import annotations

import pytest

from support.cycle import only_customers, proposals, run
from support.shop import Shop, until


@pytest.mark.parametrize("wait", ["null", "'0 s'", "'-1 s'", "'8 days'"])
def test_somebody_has_to_wait(shop: Shop, wait: str) -> None:
    proposal = shop.approved()
    error = shop.begin(f"call architect.sp_deploy_approved({proposal}, wait => {wait})").failure()
    assert error.sqlstate == "22023"
    assert error.diag.message_hint
    assert (shop.state(proposal), shop.indexes()) == ("approved", {})


def test_the_time_to_wait_is_over(shop: Shop) -> None:
    """The deployment stops where it is, and the next call goes on."""
    proposal = shop.approved()
    with shop.old_snapshot():
        error = shop.begin_deployment(proposal, "1 s").failure()
        assert error.sqlstate == "57014"
        assert "longer wait" in (error.diag.message_hint or "")
        until(lambda: shop.executor_pid() is None, "the executor's session ends", 5)
    assert shop.deploy(proposal)[0] == "improved", shop.explanation(proposal)


def test_a_run_that_waits_deploys_what_is_approved_meanwhile(shop: Shop) -> None:
    only_customers(shop)
    call = shop.begin("call architect.sp_autonomous_improvement(dry_run => false, wait => '1 minute')")
    until(lambda: shop.value("select count(*) from architect.pending_approvals"), "it waits")
    shop.approve(proposals(shop)[0]["proposal_id"])
    _, next_step = call.result()
    assert next_step.startswith("kept; undo with"), next_step
    assert shop.indexes() == {"orders_customer_architect_idx": True}


def test_a_run_that_waits_in_vain(shop: Shop) -> None:
    _, next_step, _ = run(shop, "dry_run => false, wait => '1 s'")
    assert "architect.approve(" in next_step
    shop.set(retry_after="0")
    reject_all(shop)
    call = shop.begin("call architect.sp_autonomous_improvement(dry_run => false, wait => '1 minute')")
    until(lambda: "waiting for a decision" in str(call.notices) or not call.is_running, "it waits")
    assert call.is_running, (call.error, call.notices)
    reject_all(shop)
    assert "is rejected" in call.result()[1]


def reject_all(shop: Shop) -> None:
    with shop.connect("ines") as ines:
        for one in proposals(shop, "state = 'awaiting_approval'"):
            ines.execute("select architect.reject(%s, 'not now')", (one["proposal_id"],))
