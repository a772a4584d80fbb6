"""What each service comes to is kept with a run whose documents stand."""

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bill_runs", sa.Column("services", JSONB(), nullable=True))
    connection = op.get_bind()
    # A run at a time, and read before it is written: a cluster updates no copied table from a
    # distributed one.
    for (run_id,) in connection.execute(
        sa.text("SELECT id FROM bill_runs WHERE status <> 'open'")
    ).all():
        sums = connection.execute(
            sa.text(
                "SELECT tariff_code, sum(net), count(*) FROM ("
                " SELECT l.tariff_code, i.account_id,"
                " sum(CASE i.kind WHEN 'credit-note' THEN -l.net ELSE l.net END) AS net"
                " FROM invoice_lines l JOIN invoices i"
                " ON i.account_id = l.account_id AND i.id = l.invoice_id"
                " WHERE i.run_id = :run AND i.status <> 'discarded'"
                " GROUP BY l.tariff_code, i.account_id"
                ") AS of_accounts GROUP BY tariff_code ORDER BY tariff_code"
            ),
            {"run": run_id},
        ).all()
        kept = [{"tariff": code, "net": str(net), "accounts": count} for code, net, count in sums]
        connection.execute(
            sa.text("UPDATE bill_runs SET services = CAST(:kept AS jsonb) WHERE id = :run"),
            {"run": run_id, "kept": json.dumps(kept)},
        )


def downgrade() -> None:
    op.drop_column("bill_runs", "services")
