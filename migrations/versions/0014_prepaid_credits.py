"""Prepaid credits: payments made in advance."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prepaid_credits",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("granted_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("held_by", sa.Text(), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "ends_on IS NULL OR ends_on > granted_on",
            name=op.f("ck_prepaid_credits_ends_after_grant"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "payment_id"],
            ["payments.account_id", "payments.id"],
            name=op.f("fk_prepaid_credits_account_id_payment_id_payments"),
        ),
        sa.PrimaryKeyConstraint("account_id", "payment_id", name=op.f("pk_prepaid_credits")),
    )


def downgrade() -> None:

    op.drop_table("prepaid_credits")
