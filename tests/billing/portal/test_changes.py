"""Why one month differs from another, in words and to the penny."""

from decimal import Decimal

from billing.portal.changes import Part, changes


def part(quantity: str, amount: str, *, key: str = "studies", unit: str = "studies") -> Part:
    return Part(
        ("archive", key), "Imaging archive", "Studies", unit, Decimal(quantity), Decimal(amount)
    )


def test_more_use_at_the_same_price_is_all_use() -> None:
    (change,) = changes([part("100", "50.00")], [part("130", "65.00")])
    assert (change.by_use, change.by_price) == (Decimal("15.00"), Decimal("0.00"))
    assert change.words == (
        "Imaging archive, Studies: £15.00 more. Using 30 studies more added £15.00."
    )


def test_a_lower_price_is_told_from_more_use() -> None:
    (change,) = changes([part("100", "50.00")], [part("200", "80.00")])
    assert (change.by_use, change.by_price) == (Decimal("50.00"), Decimal("-20.00"))
    assert change.words == (
        "Imaging archive, Studies: £30.00 more. Using 100 studies more added £50.00. "
        "The price (on average £0.50 a unit, now £0.40) took off £20.00."
    )


def test_causes_always_add_up_to_the_difference() -> None:
    (change,) = changes([part("3", "1.00")], [part("7", "2.00")])
    assert change.by_use + change.by_price == change.difference == Decimal("1.00")


def test_what_began_or_ended_says_so_and_the_largest_comes_first() -> None:
    ended, began = part("1", "3.00"), part("1", "9.00", key="new")
    first, second = changes([ended], [began])
    assert first.words.endswith("£9.00 more, as nothing was charged for it the month before.")
    assert second.words.endswith("£3.00 less, as nothing was charged for it any more.")


def test_an_unchanged_amount_is_no_change_and_a_flat_one_has_no_causes() -> None:
    assert changes([part("1", "3.00")], [part("2", "3.00")]) == ()
    (change,) = changes([part("1", "250.00", unit="")], [part("1", "260.00", unit="")])
    assert change.words == "Imaging archive, Studies: £10.00 more."
