"""What a bank line may be: by number, advice, slip of the pen, payer, amount; always the same."""

import random
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import sum_pounds
from billing.payments.bank.matching import (
    Ledger,
    OpenInvoice,
    Payer,
    certain,
    spread,
    suggest,
)
from billing.payments.bank.model import Remittance, RemittanceItem, StatementLine


def _invoice(n: int, outstanding: str, account: str = "acc_rwe", **facts: object) -> OpenInvoice:
    usual = OpenInvoice(
        account_id=account,
        invoice_id=f"inv_{n}",
        number=f"PG-2627-{n:06d}",
        outstanding=Decimal(outstanding),
        issued_on=date(2026, 4, 1),
        due_on=date(2026, 5, 1),
    )
    return replace(usual, **facts)


def _line(amount: str, reference: str = "", **facts: object) -> StatementLine:
    usual = StatementLine(booked_on=date(2026, 5, 20), amount=Decimal(amount), reference=reference)
    return replace(usual, **facts)


RWE = Payer(account_id="acc_rwe", names=("University Hospitals of Leicester NHS Trust", "RWE"))
RRK = Payer(
    account_id="acc_rrk", names=("University Hospitals Birmingham NHS Foundation Trust", "RRK")
)
BOOKS = Ledger(
    invoices=(
        _invoice(123, "120.00"),
        _invoice(124, "80.00", due_on=date(2026, 6, 1)),
        _invoice(200, "55.00", "acc_rrk"),
    ),
    payers=(RWE, RRK),
)


@pytest.mark.parametrize(
    ("amount", "reference", "score", "shares"),
    [
        ("120.00", "PG-2627-000123", 100, [("inv_123", "120.00")]),
        ("120.00", "inv pg2627 000123 thanks", 100, [("inv_123", "120.00")]),
        (
            "200.00",
            "PG-2627-000123/PG-2627-000124",
            100,
            [("inv_123", "120.00"), ("inv_124", "80.00")],
        ),
        ("100.00", "PG-2627-000123", 85, [("inv_123", "100.00")]),
        ("130.00", "PG-2627-000123", 80, [("inv_123", "120.00"), (None, "10.00")]),
        (
            "175.00",
            "PG-2627-000123 PG-2627-000200",
            95,
            [("inv_123", "120.00"), ("inv_200", "55.00")],
        ),
        ("120.00", "PG-2627-0OO123", 80, [("inv_123", "120.00")]),
        ("120.00", "PG-2627-000132", 80, [("inv_123", "120.00")]),
        ("120.00", "PG-2627-00123", 80, [("inv_123", "120.00")]),
        ("120.00", "invoice 123", 65, [("inv_123", "120.00")]),
        ("55.00", "", 40, [("inv_200", "55.00")]),
    ],
)
def test_by_what_the_payer_wrote(
    amount: str, reference: str, score: int, shares: list[tuple[str | None, str]]
) -> None:
    best = suggest(_line(amount, reference), BOOKS)[0]

    assert best.score == score, best
    assert [(share.invoice_id, str(share.amount)) for share in best.shares] == shares


def test_only_the_exact_words_and_amount_of_one_account_are_certain() -> None:
    assert certain(suggest(_line("120.00", "PG-2627-000123"), BOOKS)) is not None
    for amount, reference in (
        ("119.99", "PG-2627-000123"),
        ("120.00", "PG-2627-000132"),
        ("120.00", ""),
    ):
        assert certain(suggest(_line(amount, reference), BOOKS)) is None


def test_a_longer_number_is_another_invoice() -> None:
    best = suggest(_line("120.00", "PG-2627-0001234"), BOOKS)

    assert certain(best) is None


def test_by_the_bank_account_that_paid_before() -> None:
    books = replace(
        BOOKS, payers=(replace(RWE, bank_accounts=frozenset({"20-30-40 11112222"})), RRK)
    )
    line = _line("200.00", counterparty_account="203040 11112222")

    best = suggest(line, books)[0]

    assert best.score == 80
    assert [share.invoice_id for share in best.shares] == ["inv_123", "inv_124"]


def test_by_name_the_oldest_invoices_are_paid_first_and_the_rest_is_kept() -> None:
    line = _line("210.00", counterparty="LEICESTER HOSPITALS")

    best = suggest(line, BOOKS)[0]

    assert best.score == 35
    assert [(share.invoice_id, str(share.amount)) for share in best.shares] == [
        ("inv_123", "120.00"),
        ("inv_124", "80.00"),
        (None, "10.00"),
    ]


def test_by_remittance_advice_even_when_it_pays_a_part() -> None:
    advice = Remittance(
        payer="NHS Shared Business Services",
        reference="BACS0042",
        paid_on=date(2026, 5, 18),
        items=(
            RemittanceItem(invoice_number="PG-2627-000124", amount=Decimal("80.00")),
            RemittanceItem(invoice_number="pg2627000200", amount=Decimal("5.00")),
        ),
    )
    books = replace(BOOKS, remittances=(advice,))

    best = suggest(_line("85.00", "BACS0042"), books)[0]
    assert best.score == 95
    assert [(share.invoice_id, str(share.amount)) for share in best.shares] == [
        ("inv_124", "80.00"),
        ("inv_200", "5.00"),
    ]
    assert suggest(_line("85.00"), books)[0].score == 75
    assert not suggest(_line("85.01", "BACS0042"), books)
    late = _line("85.00", "BACS0042", booked_on=date(2026, 7, 1))
    assert not suggest(late, books)


def test_money_that_went_out_pays_nothing() -> None:
    assert suggest(_line("-120.00", "PG-2627-000123"), BOOKS) == ()


_PENNIES = st.integers(1, 50_000).map(lambda pennies: Decimal(pennies) / 100)


@st.composite
def _books(draw: st.DrawFn) -> Ledger:
    numbers = draw(st.lists(st.integers(1, 300), unique=True, max_size=8))
    return Ledger(
        invoices=tuple(
            _invoice(
                n,
                str(draw(_PENNIES)),
                draw(st.sampled_from(["acc_rwe", "acc_rrk"])),
                due_on=draw(st.sampled_from([date(2026, 5, 1), date(2026, 6, 1)])),
            )
            for n in numbers
        ),
        payers=(RWE, RRK),
    )


_LINES = st.builds(
    _line,
    st.one_of(_PENNIES.map(str), st.just("120.00")),
    st.one_of(
        st.integers(1, 300).map(lambda n: f"PG-2627-{n:06d}"),
        st.lists(st.integers(1, 300), max_size=3).map(
            lambda many: " ".join(f"pg 2627 {n:06d}" for n in many)
        ),
        st.text(max_size=30),
    ),
    counterparty=st.sampled_from(["", "LEICESTER", "Birmingham NHS", "RRK"]),
)


@given(books=_books(), line=_LINES, seed=st.integers())
def test_matching_is_deterministic_and_never_gives_more_than_there_is(
    books: Ledger, line: StatementLine, seed: int
) -> None:
    shuffled = replace(
        books,
        invoices=tuple(random.Random(seed).sample(books.invoices, len(books.invoices))),
        payers=tuple(reversed(books.payers)),
    )

    suggestions = suggest(line, books)

    assert suggestions == suggest(line, shuffled)
    open_by_id = {item.invoice_id: item.outstanding for item in books.invoices}
    for suggestion in suggestions:
        assert sum_pounds([share.amount for share in suggestion.shares]) == line.amount
        assert all(share.amount > 0 for share in suggestion.shares)
        named = [share.invoice_id for share in suggestion.shares if share.invoice_id]
        assert len(named) == len(set(named))
        assert all(
            share.amount <= open_by_id[share.invoice_id]
            for share in suggestion.shares
            if share.invoice_id
        )
    scores = [suggestion.score for suggestion in suggestions]
    assert scores == sorted(scores, reverse=True)


def test_spreading_more_than_is_open_keeps_the_rest_for_the_first_account() -> None:
    shares = spread(Decimal("10.00"), [_invoice(1, "4.00"), _invoice(2, "1.00", "acc_rrk")])

    assert [(share.account_id, str(share.amount)) for share in shares] == [
        ("acc_rwe", "4.00"),
        ("acc_rrk", "1.00"),
        ("acc_rwe", "5.00"),
    ]
