"""Names within PostgreSQL's limit, which is in bytes."""

from __future__ import annotations

import pytest

from pg_architect.core.identifier import NAME_BYTES, shortened, shown
from pg_architect.safety import index_statement, parse


def test_a_name_is_cut_between_two_characters() -> None:
    assert shortened("orders") == "orders"
    assert shortened("é" * 40) == "é" * 31
    assert len(shortened("x" * 70)) == NAME_BYTES


def test_the_name_that_the_gate_gives_to_an_index_fits() -> None:
    with pytest.raises(index_statement.Refused) as refused:
        index_statement.read_statement(parse.parse_one(f'create index on s."{"é" * 30}" ("{"ü" * 20}")'))
    instead = parse.parse_one(refused.value.evidence["instead"])
    assert instead.idxname == "é" * 30 + "_" + "ü"


def test_names_are_shown_as_they_are_written() -> None:
    assert shown("app", "orders_2") == "app.orders_2"
    assert shown("app", "Orders", 'a"b') == 'app."Orders"."a""b"'
