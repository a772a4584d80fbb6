"""Who did it, in words: the names behind principals."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.tables import UserRow


class Names(dict[str, str]):
    """Names by principal; one that is no user stands for itself, `job:roll-up`."""

    def __missing__(self, principal: str) -> str:
        return principal

    def of(self, principal: str | None) -> str:
        """Return the name of a principal, empty where there is none."""
        return "" if principal is None else self[principal]


def names_of(session: Session, *, principals: Iterable[str | None]) -> Names:
    """Return the names of those principals that are users."""
    ids = {principal for principal in principals if principal is not None}
    if not ids:
        return Names()
    rows = session.execute(select(UserRow.id, UserRow.name).where(UserRow.id.in_(sorted(ids))))
    return Names((row.id, row.name) for row in rows)
