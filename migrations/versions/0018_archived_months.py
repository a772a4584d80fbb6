"""Months whose raw events were moved to files."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "archived_months",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("event_rows", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.Numeric(38, 9), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("month", name=op.f("pk_archived_months")),
    )
    # A trust's page says where the events of an old month are.
    op.execute("GRANT SELECT ON archived_months TO paygo_portal")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON archived_months"
        " FOR EACH ROW EXECUTE FUNCTION paygo_refuse_change()"
    )


def downgrade() -> None:
    op.drop_table("archived_months")
