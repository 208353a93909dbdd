"""Runs of the improvement cycle in the shop, and what they propose."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from support.shop import BY_CUSTOMER, DANA, Shop


def run(shop: Shop, arguments: str = "", user: str = DANA) -> tuple[int, str, list[str]]:
    """One run of the cycle: (run_id, next step, what was said)."""
    call = shop.begin(f"call architect.sp_autonomous_improvement({arguments})", user)
    run_id, next_step = call.result()
    return run_id, next_step, call.notices


def proposals(shop: Shop, where: str = "true") -> list[dict[str, Any]]:
    with shop.connect(DANA) as dana, psycopg.Cursor(dana, row_factory=dict_row) as cursor:
        query = f"select * from architect.proposals where {where} order by proposal_id"
        return cursor.execute(query).fetchall()


def only_customers(shop: Shop) -> None:
    """A workload with one cause: orders of a customer are searched for without an index."""
    shop.rows("select count(*) from public.pg_stat_statements_reset()")
    shop.work(BY_CUSTOMER, times=20)
