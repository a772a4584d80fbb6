"""Terms of an agreement itself become local agreements, which two people stand for."""

import json
from datetime import date
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_REASON = "Was part of the agreement itself, from before two people were needed"


def upgrade() -> None:
    connection = op.get_bind()
    for row in connection.execute(sa.text("SELECT * FROM agreements WHERE terms <> '{}'")).all():
        for number, (starts_on, ends_on) in enumerate(_free(connection, row)):
            connection.execute(
                sa.text(
                    "INSERT INTO local_agreements (id, account_id, tariff_code, starts_on,"
                    " ends_on, terms, status, reason, proposed_by, proposed_at, decided_by,"
                    " decided_at) VALUES (:id, :account, :tariff, :starts, :ends,"
                    " CAST(:terms AS jsonb), 'approved', :reason, 'paygo', :made,"
                    " 'paygo migration', :made)"
                ),
                {
                    # The first keeps the name by which charges and shortfalls know the terms.
                    "id": row.id if number == 0 else f"{row.id}-{number + 1}",
                    "account": row.account_id,
                    "tariff": row.tariff_code,
                    "starts": starts_on,
                    "ends": ends_on,
                    "terms": json.dumps(row.terms),
                    "reason": _REASON,
                    "made": row.created_at,
                },
            )
    op.drop_column("agreements", "terms")


def _free(connection: sa.Connection, row: Any) -> list[tuple[date, date | None]]:
    """Return the days of an agreement on which no local agreement holds: its terms did then."""
    taken = connection.execute(
        sa.text(
            "SELECT starts_on, ends_on FROM local_agreements WHERE status = 'approved'"
            " AND tariff_code = :tariff AND (account_id = :account OR group_code = :group)"
            " AND (ends_on IS NULL OR ends_on > :starts)"
            " AND (CAST(:ends AS date) IS NULL OR starts_on < :ends) ORDER BY starts_on"
        ),
        {
            "tariff": row.tariff_code,
            "account": row.account_id,
            "group": row.group_code,
            "starts": row.starts_on,
            "ends": row.ends_on,
        },
    ).all()
    free: list[tuple[date, date | None]] = []
    start = row.starts_on
    for first, end in taken:
        if first > start:
            free.append((start, first))
        if end is None:
            return free
        start = max(start, end)
    if row.ends_on is None or start < row.ends_on:
        free.append((start, row.ends_on))
    return free


def downgrade() -> None:
    op.add_column(
        "agreements", sa.Column("terms", JSONB(), nullable=False, server_default=sa.text("'{}'"))
    )
    op.alter_column("agreements", "terms", server_default=None)
