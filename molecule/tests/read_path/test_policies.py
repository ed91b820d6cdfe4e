"""The operator chooses the answer to calls that cannot read from the replica."""

from __future__ import annotations

import pytest
from calls import Somebody
from failures import FAILURES, Field

pytestmark = pytest.mark.usefixtures("alone")


@pytest.mark.fleet("stale")
@pytest.mark.parametrize("key", ["applying_stopped", "replica_lagging"])
def test_stale_answers_from_a_replica_that_is_behind(key: str, field: Field, somebody: Somebody):
    with FAILURES[key].play(field):
        assert somebody.save().ok
        report = somebody.report()
    assert (report.status, report.fresh) == (200, False)
    assert report.place == (field.node.name, f"{field.node.name}; reason=stale")


@pytest.mark.fleet("stale")
def test_stale_turns_to_the_primary_when_there_is_no_replica(field: Field, somebody: Somebody):
    with FAILURES["replica_stopped"].play(field):
        assert somebody.save().ok
        report = somebody.report()
    assert (report.status, report.fresh) == (200, True)
    assert report.database == f"{field.primary.name}; reason=unreachable"


@pytest.mark.fleet("error")
@pytest.mark.parametrize("key", ["applying_stopped", "replica_stopped"])
def test_error_tells_the_user_to_try_later(key: str, field: Field, somebody: Somebody):
    with FAILURES[key].play(field):
        assert somebody.save().ok
        report = somebody.report()
        assert somebody.sign_in().ok
    assert 400 <= report.status < 500
    assert "try again later" in report.words
