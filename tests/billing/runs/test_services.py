"""What a run keeps of its services is what its lines come to, at each step."""

from decimal import Decimal

from billing.runs import operations, queries, work
from billing.runs.services import ServiceSum, service_sums
from metering.kit.db import Database
from tests.scenarios import story
from tests.scenarios.story import APRIL


def _kept(database: Database, run_id: str) -> list[ServiceSum] | None:
    """Return what the run has kept, having compared it with the lines and the review."""
    with database.snapshot() as session:
        row = queries.run(session, run_id=run_id)
        kept = None if row.services is None else [ServiceSum.read(said) for said in row.services]
        summed = service_sums(session, run_id=run_id)
        shown = queries.review(session, run_id=run_id).services
        assert [(item.code, item.net, item.accounts) for item in shown] == [
            (item.tariff, item.net, item.accounts) for item in summed
        ]
        assert kept in (None, summed)
        lines = sum((item.net for item in summed), Decimal(0))
        assert lines == queries.review(session, run_id=run_id).net
    return kept


def test_sums_are_kept_while_drafts_stand_and_forgotten_when_they_may_change(
    database: Database,
) -> None:
    now = story.after(APRIL)
    story.service(database)
    story.trusts(database, "RRK", "RWE")
    story.uses(database, "RRK", "200")
    story.uses(database, "RWE", "100")
    run_id = story.start(database, APRIL)
    assert _kept(database, run_id) is None

    def draft() -> list[ServiceSum] | None:
        work.draft_run(database, run_id=run_id, now=now)
        return _kept(database, run_id)

    both = draft()
    assert both is not None
    assert [item.accounts for item in both] == [2]
    with database.snapshot() as session:
        first, _ = queries.accounts_at(session, run_id=run_id, status="drafted")
    with database.transaction() as session:
        operations.release_account(
            session, run_id=run_id, account_id=first, principal="usr_a", now=now
        )
    assert _kept(database, run_id) is None
    story.uses(database, "RRK", "50")
    assert draft() != both

    # An account that is opened meanwhile comes into a run that is drafted.
    with database.snapshot() as session:
        assert queries.run(session, run_id=run_id).status == "drafted"
    story.trusts(database, "RR8")
    story.uses(database, "RR8", "10")
    three = draft()
    assert three is not None
    assert [item.accounts for item in three] == [3]

    with database.transaction() as session:
        operations.reopen_run(session, run_id=run_id, principal="usr_a", now=now)
    assert _kept(database, run_id) is None
    assert draft() == three
    with database.transaction() as session:
        operations.approve_run(session, run_id=run_id, principal="usr_b", now=now)
    work.issue_run(database, run_id=run_id, principal="usr_b", now=now)
    assert _kept(database, run_id) == three
