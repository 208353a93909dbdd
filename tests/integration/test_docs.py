"""The documentation is true: its examples run, in their order, as the people that it names, and nothing is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import people
from support.cluster import ROOT, Cluster

REFERENCE = ROOT / "docs/reference.md"
BLOCK = re.compile(r"^```sql\n(.*?)^```", re.MULTILINE | re.DOTALL)
WHO = re.compile(r"^-- as (\w+)\n")
STAFF = {"dana": "architect_operator", "ines": "architect_approver", "ada": "architect_admin", "shop": None}

SHOP = """
create schema shop authorization shop;
create table shop.orders (id int primary key, customer int not null, status text not null, total numeric not null);
insert into shop.orders select i, i % 4000, (array['new', 'paid', 'sent', 'done'])[1 + i % 4], i % 100
  from generate_series(1, 60000) as i;
alter table shop.orders owner to shop;
analyze shop.orders;
select pg_stat_statements_reset();
set role shop;
select format('select sum(total) from shop.orders where customer = %s', i) from generate_series(1, 60) as i
\\gexec
"""


@pytest.fixture
def shop(cluster: Cluster, database: str) -> Iterator[str]:
    with cluster.connect(database) as connection:
        for name, group in STAFF.items():
            people.make_role(connection, name, *([group] if group else []))
    done = cluster.psql(database, SHOP)
    assert done.rc == 0, done.stderr
    yield database
    with cluster.connect(database) as connection:
        connection.execute("revoke shop from architect_executor")


def test_the_examples_run(cluster: Cluster, shop: str) -> None:
    for block in BLOCK.findall(REFERENCE.read_text(encoding="utf-8")):
        who = WHO.match(block)
        user = who[1] if who else "postgres"
        done = cluster.psql(shop, block, user=user)
        assert done.rc == 0, f"as {user}:\n{block}{done.stderr}"
    # the story went where the text says
    with cluster.connect(shop) as connection:
        states = connection.execute("select state from architect.proposals order by proposal_id").fetchall()
        assert {("reverted",), ("rejected",)} <= set(states), states
        assert connection.execute(
            "select count(*) from architect.measurements where verdict = 'improved'"
        ).fetchone() == (1,)


def test_everything_public_has_an_example(cluster: Cluster, database: str) -> None:
    examples = "\n".join(BLOCK.findall(REFERENCE.read_text(encoding="utf-8")))
    with cluster.connect(database) as connection:
        names = {routine.name for routine in people.public_routines(connection)}
        views = connection.execute(
            "select relname from pg_class where relnamespace = 'architect'::regnamespace and relkind in ('v', 'm')"
        ).fetchall()
    names |= {name for (name,) in views}
    missing = {name for name in names if not re.search(rf"\barchitect\.{name}\b", examples)}
    assert missing == set(), "docs/reference.md has no example for these"


def test_the_text_names_only_what_there_is(cluster: Cluster, database: str) -> None:
    with cluster.connect(database) as connection:
        known = {routine.name for routine in people.routines(connection)} | set(people.relations(connection))
    for path in sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]):
        if path.exists():
            named = set(re.findall(r"\barchitect\.(\w+)\b(?!/|\.)", path.read_text(encoding="utf-8")))
            assert named - known - {"py", "sql"} == set(), path.name


def test_links_lead_somewhere() -> None:
    for path in [*ROOT.glob("docs/*.md"), ROOT / "README.md"]:
        if path.exists():
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
                assert Path(path.parent, target).exists(), f"{path.name}: {target}"
