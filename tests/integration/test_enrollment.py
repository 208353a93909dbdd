"""Who enrolled an owner, and when, is what architect.enrollments says: nobody rewrites it while the grant is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import people
from support.cluster import Cluster
from support.people import ADMIN, Connection

OWNER = "t_enrolled"


@pytest.fixture
def superuser(cluster: Cluster, database: str) -> Iterator[Connection]:
    with cluster.connect(database) as connection:
        people.make_people(connection)
        people.make_role(connection, OWNER)
        yield connection
        connection.execute(f"drop role {OWNER}")


def enrollment(connection: Connection) -> tuple[object, ...] | None:
    return connection.execute(
        "select role_oid, enrolled_by, enrolled_at from architect.enrollment where role_name = %s", (OWNER,)
    ).fetchone()


def test_a_membership_belongs_to_the_whole_server(cluster: Cluster, database: str, superuser: Connection) -> None:
    """A copy of the database takes the executor's rights in the original, too: the answers say so."""
    (told,) = superuser.execute(f"select architect.enroll('{OWNER}')").fetchone() or ("",)
    assert f"the rights of {OWNER}, in every database of this server" in told
    effective = "select is_effective from architect.enrollments"
    assert superuser.execute(effective).fetchone() == (True,)
    with cluster.database() as other, cluster.connect(other) as connection:
        (told,) = connection.execute(f"select architect.withdraw('{OWNER}')").fetchone() or ("",)
    assert told.endswith(f"no longer holds the rights of {OWNER}, in any database of this server")
    assert superuser.execute(effective).fetchone() == (False,)


def test_an_enrollment_stays_as_it_was_noted(cluster: Cluster, database: str, superuser: Connection) -> None:
    superuser.execute(f"select architect.enroll('{OWNER}')")
    noted = enrollment(superuser)
    assert noted is not None
    superuser.execute(f"grant {OWNER} to {ADMIN} with admin option")
    with cluster.connect(database, user=ADMIN) as admin:
        for function in ("_record_enrollment", "enroll"):
            admin.execute(f"select architect.{function}('{OWNER}')")
            assert enrollment(superuser) == noted


def test_enrolling_anew_is_noted_anew(cluster: Cluster, database: str, superuser: Connection) -> None:
    """After the grant was taken back elsewhere, or the role was made anew."""
    superuser.execute(f"select architect.enroll('{OWNER}')")
    before = enrollment(superuser)
    superuser.execute(f"revoke {OWNER} from architect_executor; grant {OWNER} to {ADMIN} with admin option")
    with cluster.connect(database, user=ADMIN) as admin:
        admin.execute(f"select architect.enroll('{OWNER}')")
        again = enrollment(superuser)
        assert before is not None
        assert again is not None
        assert (again[0], again[1]) == (before[0], ADMIN)
        superuser.execute(f"drop role {OWNER}; create role {OWNER}; grant {OWNER} to architect_executor")
        admin.execute(f"select architect._record_enrollment('{OWNER}')")
        other = enrollment(superuser)
        assert other is not None
        assert other[0] != again[0]
    superuser.execute(f"revoke {OWNER} from architect_executor; select architect._record_enrollment('{OWNER}')")
    assert enrollment(superuser) is None
