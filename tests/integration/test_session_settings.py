"""What the caller has set in a session changes nothing about a deployment, or is refused."""

from __future__ import annotations

import pytest

from support.people import refused
from support.shop import Shop


@pytest.mark.parametrize(
    "setting", ["TimeZone=Europe/Berlin", "DateStyle=German", r"default_transaction_isolation=repeatable\ read"]
)
def test_settings_of_the_callers_session(shop: Shop, setting: str) -> None:
    proposal = shop.approved()
    call = shop.begin_deployment(proposal, options=f"-c {setting}")
    assert call.result(120)[0] == "improved", shop.explanation(proposal)


def test_a_step_sees_what_others_have_committed(shop: Shop) -> None:
    """Else two that begin at once would not see each other, and both would be within the limits."""
    proposal = shop.approved()
    with shop.connect("architect_executor", options=r"-c default_transaction_isolation=repeatable\ read") as executor:
        call = f"call architect._advance({proposal}, null, 'hand')"
        refused(executor, call, "55000", "a deployment needs transactions that are read committed")
    assert shop.state(proposal) == "approved"
