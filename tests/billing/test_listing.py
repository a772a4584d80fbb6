"""Lists: order, pages and their links, without a browser."""

import pytest

from billing.listing import Cell, Column, Listing

NAME, AMOUNT = Column("Name", key="name"), Column("Amount", key="amount", numeric=True)


def listing(**changes: object) -> Listing:
    given: dict[str, object] = {
        "caption": "Invoices",
        "columns": (NAME, AMOUNT),
        "rows": ((Cell("Leeds"), Cell("£1.00")),),
        "path": "/invoices",
        "query": {"status": "issued"},
        "sort": "name",
        "page_size": 10,
        "total": 95,
        **changes,
    }
    return Listing(**given)  # type: ignore[arg-type]  # the test gives what the field wants


def test_a_click_on_the_column_in_force_turns_the_order_round() -> None:
    up = listing()
    assert up.order_of(NAME) == "ascending"
    assert up.order_of(AMOUNT) == "none"
    assert up.sort_href(NAME) == "/invoices?status=issued&sort=name&direction=descending"
    assert up.sort_href(AMOUNT) == "/invoices?status=issued&sort=amount&direction=ascending"
    down = listing(direction="descending")
    assert down.sort_href(NAME).endswith("direction=ascending")


def test_pages_keep_filters_and_order() -> None:
    assert listing().page_href(3) == "/invoices?status=issued&sort=name&direction=ascending&page=3"
    assert listing(query={}, sort=None).page_href(1) == "/invoices"
    assert listing(query={"q": "a&b=c"}, sort=None).page_href(2) == "/invoices?q=a%26b%3Dc&page=2"


@pytest.mark.parametrize(
    ("page", "numbers"),
    [
        (1, [1, 2, None, 10]),
        (2, [1, 2, 3, None, 10]),
        (5, [1, None, 4, 5, 6, None, 10]),
        (10, [1, None, 9, 10]),
    ],
)
def test_the_pagination_shows_the_ends_and_the_neighbours(
    page: int, numbers: list[int | None]
) -> None:
    steps = listing(page=page).steps()
    assert [step.number for step in steps] == numbers
    assert [step.number for step in steps if step.current] == [page]


def test_what_is_shown_is_said_in_numbers() -> None:
    assert listing(page=10, total=1234, page_size=100).shown == "901 to 901 of 1,234"
    assert listing(total=None).page_count == 1
    assert listing(total=0, rows=()).page_count == 1


def test_a_row_that_does_not_fit_its_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells under 2 columns"):
        listing(rows=((Cell("Leeds"),),))
