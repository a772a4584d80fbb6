"""What sources counted themselves, held against what arrived, before a month is invoiced."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from metering.periods import Month
from metering.reports import manifests


def manifest_faults(session: Session, *, month: Month) -> list[tuple[str, str, str]]:
    """Return source, policy and a sentence for each manifest that disagrees, waiting ones first.

    The source is told the same by the API. The latest manifest for the same meter,
    organisation and days counts. A source whose policy is to wait and that sent none for the
    month is at fault too.
    """
    found = manifests.report(session, rows=manifests.latest(session, month=month))
    faults = [
        (
            each.source,
            each.policy,
            f"{each.source} declared {each.declared_count} events "
            f"({each.declared_quantity.normalize():f}) of {each.meter} from {each.first_on} to "
            f"{each.end_on}; {each.received_count} ({each.received_quantity.normalize():f}) "
            "arrived.",
        )
        for each in sorted(found, key=lambda each: (each.source, each.meter, each.first_on))
        if not each.agrees and each.policy != "ignore"
    ]
    heard = {each.source for each in found}
    waiting = session.execute(
        text(
            "SELECT code FROM sources WHERE manifest_policy = 'wait' AND registered_at < :end "
            "AND (closed_at IS NULL OR closed_at >= :start) ORDER BY code"
        ),
        {"start": month.period.start, "end": month.period.end},
    )
    faults += [
        (code, "wait", f"{code} has sent no manifest for {month.name}.")
        for (code,) in waiting
        if code not in heard
    ]
    return sorted(faults, key=lambda fault: fault[1] != "wait")
