"""A bill run keeps who sends its invoices, and the work that a person asked for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "bill_runs",
        sa.Column("supplier", postgresql.JSONB(), nullable=False, server_default="{}"),
    )
    op.alter_column("bill_runs", "supplier", server_default=None)
    op.add_column("bill_runs", sa.Column("wanted", sa.Text(), nullable=True))
    op.add_column("bill_runs", sa.Column("wanted_by", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_bill_runs_wanted"), "bill_runs", "wanted IN ('draft', 'issue')"
    )


def downgrade() -> None:
    op.drop_column("bill_runs", "wanted_by")
    op.drop_column("bill_runs", "wanted")
    op.drop_column("bill_runs", "supplier")
