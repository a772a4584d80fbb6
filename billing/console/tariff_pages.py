"""What the tariff pages show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from flask import url_for

from billing.access.model import Permission, Principal
from billing.console.lists import Field, Sheet
from billing.console.people import Names
from billing.documents.words import show_unit_price
from billing.listing import Cell, Listing
from billing.money import plain
from billing.tariffs.differences import diff_tariffs
from billing.tariffs.model import Price, Tariff
from billing.tariffs.queries import Standing, standing
from billing.tariffs.tables import TariffRow, TariffVersionRow
from billing.web import quantity_text
from metering.periods import london_day, show_date

STANDING_COLOURS = {
    Standing.DRAFT: "grey",
    Standing.SUBMITTED: "yellow",
    Standing.APPROVED: "blue",
    Standing.IN_FORCE: "green",
    Standing.SUPERSEDED: "white",
    Standing.WITHDRAWN: "white",
}
MODEL_WORDS = {
    "per-unit": "A price for each unit",
    "graduated": "Graduated: each tier at its own price",
    "volume": "Volume: all units at the tier reached",
    "package": "Package: started packages count",
    "flat": "A fixed amount a month",
    "percentage": "A percentage of the value",
}
SCOPE_WORDS = {
    "own": "Each account's own use",
    "group": "Shared in the group",
    "pool": "Pooled nationally",
}


@dataclass(frozen=True)
class TariffSummary:
    """A tariff as the list shows it."""

    row: TariffRow
    source: str
    current: TariffVersionRow | None
    next: TariffVersionRow | None
    waiting: Sequence[TariffVersionRow]


def _words(value: Standing) -> str:
    return value.value.capitalize()


def tariffs_sheet() -> Sheet[TariffSummary]:
    """Return the list of tariffs."""
    return Sheet(
        name="tariffs",
        caption="Tariffs",
        sort="name",
        empty="There is no tariff yet. Register the hosted service first, then make its tariff.",
        fields=(
            Field(
                "Tariff",
                lambda item: item.row.name,
                lambda item: Cell(
                    item.row.name, href=url_for("console.tariff", code=item.row.code)
                ),
                key="name",
            ),
            Field("Code", lambda item: item.row.code, key="code"),
            Field("Service", lambda item: item.source, key="service", on_page=False),
            Field(
                "In force",
                lambda item: None if item.current is None else item.current.version,
                lambda item: (
                    Cell("None", colour="red")
                    if item.current is None
                    else Cell(
                        f"{item.current.version}, from {show_date(item.current.effective_from)}",
                        href=url_for("console.version", version_id=item.current.id),
                    )
                ),
            ),
            Field(
                "Next",
                lambda item: None if item.next is None else item.next.version,
                lambda item: (
                    Cell("")
                    if item.next is None
                    else Cell(
                        f"{item.next.version}, from {show_date(item.next.effective_from)}",
                        href=url_for("console.version", version_id=item.next.id),
                    )
                ),
            ),
            Field(
                "Waiting",
                lambda item: ", ".join(f"{row.version} {row.status}" for row in item.waiting),
                lambda item: _waiting_cell(item),
            ),
            Field(
                "Invoiced up to",
                lambda item: item.row.invoiced_to,
                lambda item: Cell(
                    "Not yet" if item.row.invoiced_to is None else show_date(item.row.invoiced_to)
                ),
                key="invoiced",
            ),
        ),
    )


def _waiting_cell(item: TariffSummary) -> Cell:
    if not item.waiting:
        return Cell("")
    row = item.waiting[0]
    return Cell(
        f"{row.version}: {'to approve' if row.status == 'submitted' else 'draft'}",
        href=url_for("console.version", version_id=row.id),
    )


def versions_sheet(names: Names, *, today: date) -> Sheet[TariffVersionRow]:
    """Return the list of a tariff's versions."""
    return Sheet(
        name="versions",
        caption="Versions",
        empty="There is no version yet, so usage has no price. Draft the first one.",
        fields=(
            Field(
                "Version",
                lambda row: row.version,
                lambda row: Cell(
                    row.version, href=url_for("console.version", version_id=row.id), nowrap=True
                ),
            ),
            Field(
                "State",
                lambda row: _words(standing(row, today=today)),
                lambda row: Cell(
                    _words(standing(row, today=today)),
                    colour=STANDING_COLOURS[standing(row, today=today)],
                ),
            ),
            Field(
                "From",
                lambda row: row.effective_from,
                lambda row: Cell(show_date(row.effective_from), nowrap=True),
            ),
            Field(
                "Until",
                lambda row: row.effective_to,
                lambda row: Cell(
                    "Open end" if row.effective_to is None else show_date(row.effective_to),
                    nowrap=True,
                ),
            ),
            Field("Written by", lambda row: names.of(row.author)),
            Field("Approved by", lambda row: names.of(row.approved_by)),
        ),
    )


@dataclass(frozen=True)
class TierLine:
    """One tier in words."""

    reach: str
    price: str
    flat: str


@dataclass(frozen=True)
class PriceCard:
    """One price of a version, for people.

    Attributes:
        facts: (label, value) pairs.
        number: its place in the file, from 0.
    """

    label: str
    number: int
    facts: tuple[tuple[str, str], ...]
    tiers: tuple[TierLine, ...]
    has_flat: bool


def price_card(price: Price, number: int) -> PriceCard:
    """Return one price for people."""
    facts = [("How it is priced", MODEL_WORDS[price.model])]
    if price.meter is not None:
        conditions = [f"{name} {value}" for name, value in price.where]
        if price.band is not None:
            conditions.append(f"in the band {price.band}")
        applies = f" where {', '.join(conditions)}" if conditions else ""
        facts.insert(0, ("Applies to", f"{price.meter}{applies}"))
    if price.unit_price is not None:
        facts.append(("Price of a unit", show_unit_price(price.unit_price)))
    if price.package_size is not None and price.package_price is not None:
        size, cost = quantity_text(price.package_size), show_unit_price(price.package_price)
        facts.append(("Package", f"{size} for {cost}"))
    if price.amount is not None:
        facts.append(("Amount a month", show_unit_price(price.amount)))
    if price.percent is not None:
        facts.append(("Percentage", f"{plain(price.percent)}%"))
    facts.append(("Whose use counts", SCOPE_WORDS[price.scope]))
    if price.convert is not None:
        divided = f"Divided by {quantity_text(price.convert.divide_by)} to {price.convert.unit}"
        facts.append(("Unit", divided))
    elif price.unit is not None:
        facts.append(("Unit", price.unit))
    if price.included is not None:
        span = "month" if price.included.per == "month" else "financial year"
        facts.append(("Included", f"{quantity_text(price.included.quantity)} a {span}"))
    if price.discount_percent is not None:
        facts.append(("Discount", f"{plain(price.discount_percent)}%"))
    if price.minimum is not None:
        facts.append(("At least", f"{show_unit_price(price.minimum)} a month"))
    if price.maximum is not None:
        facts.append(("At most", f"{show_unit_price(price.maximum)} a month"))
    if price.resets == "financial-year":
        facts.append(("Tiers begin again", "In April"))
    return PriceCard(
        label=price.label,
        number=number,
        facts=tuple(facts),
        tiers=tuple(
            TierLine(
                "No end" if tier.up_to is None else f"Up to {quantity_text(tier.up_to)}",
                show_unit_price(tier.unit_price),
                show_unit_price(tier.flat) if tier.flat else "",
            )
            for tier in price.tiers
        ),
        has_flat=any(tier.flat for tier in price.tiers),
    )


@dataclass(frozen=True)
class VersionActions:
    """What whoever looks may do with a version, and the kind word where they may not."""

    edit: bool
    submit: bool
    decide: bool
    withdraw: bool
    note: str
    reason_needed: bool


@dataclass(frozen=True)
class VersionPage:
    """One version of a tariff."""

    id: str
    code: str
    name: str
    version: str
    status: str
    colour: str
    facts: tuple[tuple[str, str], ...]
    differences: tuple[str, ...]
    compared_with: str
    prices: tuple[PriceCard, ...]
    bands: tuple[tuple[str, str], ...]
    actions: VersionActions


def version_actions(
    row: TariffVersionRow, owner: TariffRow, *, principal: Principal, names: Names, today: date
) -> VersionActions:
    """Return what a principal may do with a version where it stands."""
    prepares, approves = principal.may(Permission.PREPARE), principal.may(Permission.APPROVE)
    own = row.author == principal.id
    note = ""
    if row.status == "submitted" and own:
        note = (
            "You wrote this version, so somebody else must approve it. "
            "Ask a colleague with the role Central approver."
        )
    elif row.status == "submitted" and not approves:
        note = (
            f"Somebody with the role Central approver, other than {names.of(row.author)}, "
            "approves this version."
        )
    retrospective = owner.invoiced_to is not None and row.effective_from < owner.invoiced_to
    return VersionActions(
        edit=prepares and row.status == "draft",
        submit=prepares and row.status == "draft",
        decide=approves and row.status == "submitted" and not own,
        withdraw=prepares
        and (
            row.status in {"draft", "submitted"}
            or (row.status == "approved" and row.effective_from > today)
        ),
        note=note,
        reason_needed=retrospective,
    )


def version_page(
    row: TariffVersionRow,
    owner: TariffRow,
    tariff: Tariff,
    *,
    in_force: tuple[TariffVersionRow, Tariff] | None,
    principal: Principal,
    names: Names,
    today: date,
) -> VersionPage:
    """Return the page of one version, compared with the one in force."""
    where = standing(row, today=today)
    facts = [
        ("In force from", show_date(tariff.effective_from)),
        ("Until", "Open end" if row.effective_to is None else show_date(row.effective_to)),
        ("VAT", tariff.vat.replace("-", " ").capitalize()),
        ("Contracted-out-services heading", tariff.cos_heading or "None"),
        ("Written by", names.of(row.author)),
        ("Submitted", "No" if row.submitted_at is None else _moment(row.submitted_at)),
    ]
    if row.approved_at is not None:
        facts.append(("Approved", f"{names.of(row.approved_by)}, {_moment(row.approved_at)}"))
    if row.retrospective_reason:
        facts.append(("Why it reaches into invoiced months", row.retrospective_reason))
    return VersionPage(
        id=row.id,
        code=owner.code,
        name=owner.name,
        version=row.version,
        status=_words(where),
        colour=STANDING_COLOURS[where],
        facts=tuple(facts),
        differences=() if in_force is None else diff_tariffs(in_force[1], tariff),
        compared_with="" if in_force is None else in_force[0].version,
        prices=tuple(price_card(price, number) for number, price in enumerate(tariff.prices)),
        bands=tuple((band.name, band.text) for band in tariff.bands),
        actions=version_actions(row, owner, principal=principal, names=names, today=today),
    )


def _moment(at: datetime) -> str:
    return show_date(london_day(at))


@dataclass(frozen=True)
class TariffPage:
    """One tariff."""

    code: str
    name: str
    service: str
    source_id: int
    versions: Listing
    invoiced_to: date | None
    latest: str | None
