"""Months with levels may be archived: the last level of each stays behind."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "archived_levels",
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("meter_id", sa.Integer(), nullable=False),
        sa.Column("dimension_set_id", sa.Integer(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("quantity", sa.Numeric(38, 9), nullable=False),
        sa.PrimaryKeyConstraint(
            "subject_id",
            "meter_id",
            "dimension_set_id",
            "month",
            name=op.f("pk_archived_levels"),
        ),
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON archived_levels"
        " FOR EACH ROW EXECUTE FUNCTION paygo_refuse_change()"
    )


def downgrade() -> None:
    if op.get_bind().scalar(sa.text("SELECT EXISTS (SELECT 1 FROM archived_levels)")):
        raise RuntimeError(
            "Months with measured levels are archived. The version before could not work later "
            "months out again without them: restore the backup of before the first such archive."
        )
    op.drop_table("archived_levels")
