"""A payer's slip of the pen is undone to the invoice that was meant, and to no other."""

from hypothesis import given
from hypothesis import strategies as st

from billing.payments.bank.spelling import Spellings, spelling

NUMBERS = st.text(alphabet="PG0127", min_size=8, max_size=12)


def slipped(number: str, said: str) -> bool:
    """Say by the words of the rule whether `said` is `number` but for one slip."""
    if len(number) == len(said):
        wrong = [place for place in range(len(number)) if number[place] != said[place]]
        if len(wrong) == 2 and wrong[1] == wrong[0] + 1:
            return number[wrong[0]] == said[wrong[1]] and number[wrong[1]] == said[wrong[0]]
        return len(wrong) == 1
    short, long = sorted((number, said), key=len)
    return (
        len(long) == len(short) + 1
        and long[0] == short[0]
        and any(long[:place] + long[place + 1 :] == short for place in range(1, len(long)))
    )


def stretches(text: str) -> list[str]:
    return [text[a:b] for a in range(len(text)) for b in range(a + 1, len(text) + 1)]


@given(st.sets(NUMBERS, min_size=1, max_size=5), st.data())
def test_one_slip_is_undone_exactly_as_the_rule_says(
    numbers: set[str], data: st.DataObject
) -> None:
    meant = data.draw(st.sampled_from(sorted(numbers)))
    place = data.draw(st.integers(0, len(meant) - 1))
    sign = data.draw(st.sampled_from(["", *"PG0127"]))
    kept = data.draw(st.integers(0, 1))
    around = st.text(alphabet="PG0127X", max_size=5)
    said = data.draw(around) + meant[:place] + sign + meant[place + kept :] + data.draw(around)
    known = Spellings([spelling(number, "") for number in sorted(numbers)])
    assert known.almost(said) == {
        number for number in numbers if any(slipped(number, part) for part in stretches(said))
    }


def test_short_numbers_are_too_like_each_other() -> None:
    assert Spellings([spelling("1234567", "")]).almost("1234568") == set()


def test_what_a_text_could_mean_is_found_by_look_order_and_last_digits() -> None:
    known = Spellings([spelling("PG2627000010", "PO 77"), spelling("PG2627000011", "")])
    assert known.places("PG26270000LO", set(), ()) == [0]
    assert known.places("ORDERPO77", set(), ()) == [0]
    assert known.places("INVOICE11", set(), {"11"}) == [1]
    assert known.places("NOTHING", set(), ()) == []
