"""What the national overview shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from flask import url_for

from billing.chart import Chart, Series
from billing.console.lists import Field, Sheet, pounds_field
from billing.console.overview_queries import MeterUse, PoolStanding, Spend, Waiting
from billing.documents.words import plural, show_unit_price
from billing.listing import Cell, Listing
from billing.money import show_pounds, sum_pounds, to_pennies
from billing.tariffs.model import Tier
from billing.web import quantity_text
from metering.kit.jobruns import JobRun
from metering.periods import Month

MONTHS_SHOWN = 12


@dataclass(frozen=True)
class Reached:
    """Which tier a pooled quantity has reached, and how far it is to the next.

    Attributes:
        number: from 1.
        distance: units until the next unit price, None in the last tier.
    """

    number: int
    count: int
    unit_price: Decimal
    next_price: Decimal | None
    distance: Decimal | None
    floor: Decimal
    ceiling: Decimal | None


def reached(tiers: Sequence[Tier], quantity: Decimal) -> Reached:
    """Return where a quantity stands among tiers; upper bounds are inclusive."""
    floor = Decimal(0)
    for index, tier in enumerate(tiers):
        if tier.up_to is None or quantity <= tier.up_to or index == len(tiers) - 1:
            following = tiers[index + 1] if index + 1 < len(tiers) else None
            return Reached(
                number=index + 1,
                count=len(tiers),
                unit_price=tier.unit_price,
                next_price=None if following is None else following.unit_price,
                distance=None if following is None or tier.up_to is None else tier.up_to - quantity,
                floor=floor,
                ceiling=tier.up_to,
            )
        floor = tier.up_to
    raise ValueError("a graduated price has tiers")


@dataclass(frozen=True)
class PoolLine:
    """One pooled price, in words and as a bar of tiers.

    Attributes:
        residue: of a closed month, what late usage leaves with the central team.
    """

    service: str
    label: str
    quantity: Decimal
    unit: str
    tier: str
    price: str
    blended: str
    next: str
    members: int
    saving: Decimal
    percent: int
    residue: str = ""


def pool_line(standing: PoolStanding, *, service: str) -> PoolLine:
    """Return where one pooled price stands."""
    row = standing.row
    price = standing.tariff.price(row.price_key)
    unit = price.convert.unit if price.convert is not None else price.unit or "units"
    if not price.tiers:
        tier, next_words, percent = "One price", "", 100
        unit_price = price.unit_price or Decimal(0)
    else:
        at = reached(price.tiers, row.joint_quantity)
        tier = f"Tier {at.number} of {at.count}"
        unit_price = at.unit_price
        if at.distance is None or at.next_price is None or at.ceiling is None:
            next_words, percent = "The lowest price is reached", 100
        else:
            next_words = (
                f"{quantity_text(to_pennies(at.distance))} more until each further unit "
                f"costs {show_unit_price(at.next_price)}"
            )
            span = at.ceiling - at.floor
            percent = int((row.joint_quantity - at.floor) * 100 / span)
    return PoolLine(
        service=service,
        label=row.label,
        quantity=row.joint_quantity,
        unit=unit,
        tier=tier,
        price=show_unit_price(unit_price),
        blended="" if row.blended_price is None else show_unit_price(_shown(row.blended_price)),
        next=next_words,
        members=row.member_count,
        saving=row.saving,
        percent=max(0, min(100, percent)),
        residue=residue_words(row.true_up, frozen=row.frozen_at is not None),
    )


def residue_words(true_up: Decimal, *, frozen: bool) -> str:
    """Say what a frozen price leaves with the central team.

    Args:
        true_up: pounds that the use would come to at the price that it makes now, less what it
            comes to at the frozen price.
    """
    if not frozen:
        return ""
    left = to_pennies(true_up)
    if left == 0:
        return "The price was frozen when the month closed."
    more = "less" if left > 0 else "more"
    keeps = "The central team bears it" if left > 0 else "The central team keeps it"
    return (
        f"The price was frozen when the month closed. Since then late use has come to "
        f"{show_pounds(abs(left))} {more} than at the price that it makes. {keeps}."
    )


def _shown(price: Decimal) -> Decimal:
    """Return a blended price to six places, for showing alone."""
    return price.quantize(Decimal("0.000001"))


@dataclass(frozen=True)
class Attention:
    """Something that waits for a person."""

    text: str
    href: str


@dataclass(frozen=True)
class Overview:
    """The national overview."""

    month: Month
    figures: tuple[dict[str, str], ...]
    chart: Chart
    pools: tuple[PoolLine, ...]
    use: Listing
    attention: tuple[Attention, ...]


def use_sheet(month: Month, names: dict[str, str]) -> Sheet[MeterUse]:
    """Return the list of what the nation used."""
    return Sheet(
        name=f"national-use-{month}",
        caption=f"National use in {month.name}",
        sort="amount",
        direction="descending",
        empty="Nothing was used in this month. Choose another.",
        fields=(
            Field(
                "Service",
                lambda item: names.get(item.tariff, item.tariff),
                lambda item: Cell(
                    names.get(item.tariff, item.tariff),
                    href=url_for("console.tariff", code=item.tariff),
                ),
                key="service",
            ),
            Field("Meter", lambda item: item.meter, key="meter"),
            Field(
                "Quantity",
                lambda item: item.quantity,
                lambda item: Cell(f"{quantity_text(item.quantity)} {item.unit}", nowrap=True),
                key="quantity",
                numeric=True,
            ),
            Field("Unit", lambda item: item.unit, on_page=False),
            Field("Accounts", lambda item: item.accounts, key="accounts", numeric=True),
            pounds_field("Charges", lambda item: item.amount, key="amount"),
        ),
    )


def _label(month: Month, *, count: int, current: Month) -> str:
    words = f"{month.name[:3]} {month.year % 100}" if count > 6 else month.name
    return f"{words} so far" if month == current else words


def spend_chart(spend: Sequence[Spend], *, last: Month, current: Month) -> Chart:
    """Return the nation's spend by month; the month in hand is named as not over."""
    months = [last.shift(number - MONTHS_SHOWN + 1) for number in range(MONTHS_SHOWN)]
    known = {item.month for item in spend}
    months = [month for month in months if known and month >= min(known)]
    sums = [sum_pounds([item.amount for item in spend if item.month == month]) for month in months]
    summary = (
        f"From {show_pounds(sums[0])} in {months[0].name} to {show_pounds(sums[-1])} in "
        f"{months[-1].name}."
        if months
        else "No charges yet."
    )
    return Chart(
        title="Charges by month, without VAT",
        summary=summary,
        label_name="Month",
        labels=tuple(_label(month, count=len(months), current=current) for month in months),
        series=(Series("Charges", tuple(sums), tuple(show_pounds(one) for one in sums)),),
        prefix="£",
    )


def overview_page(
    *,
    month: Month,
    current: Month,
    spend: Sequence[Spend],
    use: Listing,
    pools: Sequence[PoolStanding],
    saved: Decimal,
    waiting: Waiting,
    jobs: Sequence[JobRun],
    unfinished: Month | None,
    names: dict[str, str],
    last: Month,
) -> Overview:
    """Return the overview of a month."""
    here = sum_pounds([item.amount for item in spend if item.month == month])
    before = sum_pounds([item.amount for item in spend if item.month == month.previous])
    year = sum_pounds(
        [item.amount for item in spend if item.month.financial_year == month.financial_year]
    )
    figures = (
        {
            "label": f"{month.name}, so far" if month >= current else month.name,
            "value": show_pounds(here),
            "note": f"{show_pounds(before)} in {month.previous.name}" if before else "",
        },
        {"label": "This financial year", "value": show_pounds(year), "note": "Without VAT"},
        {
            "label": "Saved by pooling",
            "value": show_pounds(saved),
            "note": "This financial year, against each trust alone",
            "tone": "success",
        },
    )
    return Overview(
        month=month,
        figures=figures,
        chart=spend_chart(spend, last=last, current=current),
        pools=tuple(
            pool_line(item, service=names.get(item.tariff.code, item.tariff.code)) for item in pools
        ),
        use=use,
        attention=_attention(waiting, jobs, unfinished),
    )


def _attention(
    waiting: Waiting, jobs: Sequence[JobRun], unfinished: Month | None
) -> tuple[Attention, ...]:
    found = []
    if unfinished is not None:
        found.append(
            Attention(
                f"The month end of {unfinished.name} is not issued",
                url_for("console.board", month=str(unfinished)),
            )
        )
    if waiting.submitted:
        found.append(
            Attention(
                f"{plural(waiting.submitted, 'tariff version')} to approve",
                url_for("console.tariffs", status="submitted"),
            )
        )
    if waiting.local:
        found.append(
            Attention(
                f"{plural(waiting.local, 'local agreement')} to approve",
                url_for("console.local_agreements", status="waiting"),
            )
        )
    if waiting.disputes:
        found.append(
            Attention(
                f"{plural(waiting.disputes, 'query', 'queries')} of trusts to answer",
                url_for("console.disputes"),
            )
        )
    if waiting.quarantined:
        found.append(
            Attention(
                f"{plural(waiting.quarantined, 'refused event')} in quarantine",
                url_for("console.quarantine"),
            )
        )
    if waiting.parked:
        found.append(
            Attention(
                f"{plural(waiting.parked, 'line')} of usage without a price",
                url_for("console.parked"),
            )
        )
    found += [
        Attention(f"The job {run.job} {run.outcome}", url_for("console.job", name=run.job))
        for run in jobs
        if run.outcome in {"failed", "abandoned"}
    ]
    return tuple(found)
