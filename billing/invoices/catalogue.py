"""The words that lines are printed with: services, meters, dimensions; read once for a run."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.accounts.model import VatTreatment, treatment_for
from billing.charges.facts import read_working
from billing.charges.tables import ChargeRow
from billing.invoices.composing import Charged, Key, line_kind, price_words
from billing.invoices.model import Line, LineKind, Treatment
from billing.invoices.usage_words import UsageWords
from billing.money import NOUGHT
from billing.rating.vat import vat_rate_percent
from billing.tariffs import queries as tariffs
from billing.tariffs.tables import TariffVersionRow
from metering.meters import queries as meters
from metering.meters.model import plural_of
from metering.periods import Month


@dataclass(frozen=True, kw_only=True)
class MeterWords:
    """A meter for people: its name, unit, and the label of each dimension."""

    name: str
    unit: str
    dimensions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Names by code; contracted-out-services headings and VAT reasons by version id.

    `usage`: what the readings behind documents are told by, filled as documents need it.
    """

    services: dict[str, str]
    meters: dict[str, MeterWords]
    headings: dict[str, str | None]
    vat_reasons: dict[str, str | None]
    usage: UsageWords = field(default_factory=UsageWords)

    def charged(self, charge: ChargeRow, *, treatments: list[VatTreatment]) -> Charged:
        """Return a charge with the line that would print it."""
        meter = self.meters.get(charge.meter)
        # ASSUMPTION: a supply is taxed as on the last day that its line covers (VATA 1994,
        # section 88: where a rate changes, tax may follow the time of actual supply).
        last_day = charge.end_on - timedelta(days=1)
        vat = treatment_for(
            treatments,
            tariff_code=charge.tariff_code,
            tariff_vat=charge.vat,
            tariff_reason=self.vat_reasons.get(charge.version_id),
            day=last_day,
        )
        working = read_working(charge.working)
        kind = line_kind(charge.price_key, working)
        unit_price, words = price_words(working)
        counted = kind is LineKind.USAGE and bool(charge.meter)
        saving = None
        if charge.alone_amount is not None and charge.scope != "own":
            saving = max(charge.alone_amount - charge.amount, NOUGHT)
        labels = {} if meter is None else meter.dimensions
        unit = "" if meter is None else charge.unit or meter.unit
        line = Line(
            number=1,
            kind=kind,
            service=self.services[charge.tariff_code],
            meter="" if meter is None else meter.name,
            description=charge.label,
            dimensions=", ".join(
                f"{labels.get(name, name)} {value}"
                for name, value in sorted(charge.dimensions.items())
            ),
            quantity=charge.quantity if counted or charge.quantity else None,
            unit=unit if charge.quantity == 1 else plural_of(unit),
            unit_price=unit_price,
            price_words=words,
            pool_saving=saving,
            net=charge.amount,
            treatment=Treatment(vat.treatment),
            vat_rate_percent=vat_rate_percent(Treatment(vat.treatment).value, tax_point=last_day),
            vat_reason=vat.reason or None,
            cos_heading=self.headings.get(charge.version_id),
            first_day=charge.first_on,
            end_day=charge.end_on,
            charge_id=charge.id,
            working=working,
        )
        return Charged(
            key=key_of(charge),
            meter_code=charge.meter,
            line=line,
            dimensions=dict(charge.dimensions),
        )


def key_of(charge: ChargeRow) -> Key:
    """Return what the charge is compared by."""
    return Key(
        month=Month.of_day(charge.month),
        tariff_code=charge.tariff_code,
        version_id=charge.version_id,
        price_key=charge.price_key,
    )


def load_catalogue(session: Session) -> Catalogue:
    """Read the words once; they are few."""
    contents = session.execute(select(TariffVersionRow.id, TariffVersionRow.content)).all()
    return Catalogue(
        services={row.code: row.name for row in tariffs.tariffs(session)},
        meters={
            row.code: MeterWords(name=row.name, unit=row.unit, dimensions=_labels(row.dimensions))
            for row in meters.every(session)
        },
        headings={version_id: content.get("cos_heading") for version_id, content in contents},
        vat_reasons={version_id: content.get("vat_reason") for version_id, content in contents},
    )


def _labels(dimensions: dict[str, Any]) -> dict[str, str]:
    return {name: said.get("label") or name for name, said in dimensions.items()}
