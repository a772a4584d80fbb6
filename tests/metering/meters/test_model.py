"""Meters: their rules and their words."""

import pytest

from metering.meters.model import plural_of


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("study", "studies"),
        ("day", "days"),
        ("case", "cases"),
        ("batch", "batches"),
        ("access", "accesses"),
        ("GB", "GB"),
        ("kWh", "kWh"),
        ("%", "%"),
        ("GB month", "GB months"),
        ("test request", "test requests"),
        ("studies", "studies"),
        ("", ""),
    ],
)
def test_units_read_as_people_say_them(one: str, many: str) -> None:
    assert plural_of(one) == many
