"""Trusts merge, split and are renamed; every pound finds who owes it."""

from datetime import date, timedelta

import pytest

from billing.accounts import operations as accounts
from billing.accounts import successions
from billing.accounts.queries import heirs, predecessors
from billing.accounts.successions import split_account
from billing.payments import reminders
from billing.payments.statements import statement_of_account
from metering.kit.db import Database
from tests import make
from tests.scenarios import story
from tests.scenarios.story import APRIL, JUNE, MAY, month_end, service, trusts, uses


def merge(database: Database, old: str, new: str, on: date) -> None:
    with database.transaction() as session:
        successions.merge_accounts(
            session,
            predecessor_id=old,
            successor_id=new,
            effective_on=on,
            principal=make.ANALYST,
            now=make.NOW,
            reason="The trusts merged",
        )


def test_the_successor_owes_what_the_predecessor_left_open(database: Database) -> None:
    service(database)
    old, new = trusts(database, "RA1", "RA2")
    uses(database, "RA1", "10", at=date(2026, 4, 10))
    (april,) = month_end(database, APRIL)["RA1"]
    merge(database, old.id, new.id, date(2026, 5, 16))
    uses(database, "RA1", "4", at=date(2026, 5, 10))
    uses(database, "RA2", "30", at=date(2026, 5, 20))
    may = sorted(month_end(database, MAY)["RA2"], key=lambda document: document.net)
    assert [(d.account_id, str(d.net)) for d in may] == [(old.id, "2.00"), (new.id, "15.00")]
    late = april.due_on + timedelta(days=2)
    with database.snapshot() as session:
        kept = statement_of_account(
            session, account_id=old.id, first_day=date(2026, 4, 1), end_day=late
        )
        taken = statement_of_account(
            session, account_id=new.id, first_day=date(2026, 4, 1), end_day=late
        )
        # 10 and 4 at 50p, with VAT; the history stays where it was.
        assert (str(kept.closing), str(taken.closing)) == ("8.40", "18.00")
        assert [(debt.number, str(debt.outstanding)) for debt in taken.taken_over] == [
            (april.number, "6.00"),
            (may[0].number, "2.40"),
        ]
        assert [payer.account.id for payer in heirs(session, account_id=old.id)] == [new.id]
        assert [payer.account.id for payer in predecessors(session, account_id=new.id)] == [old.id]
        before = statement_of_account(
            session, account_id=new.id, first_day=date(2026, 4, 1), end_day=date(2026, 5, 16)
        )
        assert before.taken_over == ()
    with database.transaction() as session:
        due = [one for one in reminders.due(session, on=late) if one.debt.number == april.number]
        letter = reminders.write(session, reminder=due[0], now=story.after(JUNE))
        assert letter is not None
        assert letter.to == "finance@ra2.example"
        assert letter.body.startswith("To the finance team of Trust RA2\n")


def test_what_comes_late_for_a_merged_trust_goes_to_its_successor(database: Database) -> None:
    service(database)
    old, new = trusts(database, "RA1", "RA2")
    uses(database, "RA1", "10", at=date(2026, 4, 10))
    month_end(database, APRIL)
    merge(database, old.id, new.id, date(2026, 5, 1))
    uses(database, "RA1", "6", at=date(2026, 4, 12))
    (late,) = month_end(database, MAY)["RA2"]
    assert (late.account_id, str(late.net), late.lines[0].kind) == (old.id, "3.00", "correction")
    assert late.buyer.name == "Trust RA2"


def test_a_trust_is_split_in_two(database: Database) -> None:
    service(database)
    (old,) = trusts(database, "RA1")
    with database.transaction() as session:
        north, south = (make.account(session, code=code) for code in ("RN1", "RS1"))
        split_account(
            session,
            predecessor_id=old.id,
            successor_ids=[north.id, south.id],
            debts_to_id=south.id,
            effective_on=date(2026, 4, 16),
            principal=make.ANALYST,
            now=make.NOW,
        )
        with pytest.raises(accounts.AccountClosed):
            make.agreement(session, account=old, starts_on=date(2026, 5, 1))
    uses(database, "RA1", "10", at=date(2026, 4, 15))
    uses(database, "RN1", "20", at=date(2026, 4, 16))
    uses(database, "RS1", "30", at=date(2026, 4, 17))
    documents = month_end(database, APRIL)
    assert {code: sorted(str(d.net) for d in found) for code, found in documents.items()} == {
        "RN1": ["10.00"],
        "RS1": ["15.00", "5.00"],
    }


def test_a_split_names_two_and_who_takes_the_debts(database: Database) -> None:
    service(database)
    old, new = trusts(database, "RA1", "RA2")
    with database.transaction() as session, pytest.raises(accounts.BadDates):
        split_account(
            session,
            predecessor_id=old.id,
            successor_ids=[new.id],
            debts_to_id=new.id,
            effective_on=date(2026, 4, 16),
            principal=make.ANALYST,
            now=make.NOW,
        )


def test_a_renamed_trust_keeps_its_old_name_on_old_invoices(database: Database) -> None:
    service(database)
    (trust,) = trusts(database, "RRK")
    uses(database, "RRK", "10", at=date(2026, 4, 10))
    (april,) = month_end(database, APRIL)["RRK"]
    with database.transaction() as session:
        accounts.change_account(
            session,
            account_id=trust.id,
            changes={"name": "New Name NHS Trust"},
            principal=make.ANALYST,
            now=make.NOW,
        )
    uses(database, "RRK", "10", at=date(2026, 5, 10))
    (may,) = month_end(database, MAY)["RRK"]
    assert (april.buyer.name, may.buyer.name) == ("Trust RRK", "New Name NHS Trust")
