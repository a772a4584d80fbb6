"""Disputes of invoices and their messages; what was written is never rewritten."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "disputes",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("line_number", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=9), nullable=True),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("raised_by", sa.Text(), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("response_days", sa.Integer(), nullable=False),
        sa.Column("respond_by", sa.Date(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("credit_note_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('open', 'waiting', 'credited', 'explained', 'withdrawn')",
            name=op.f("ck_disputes_status"),
        ),
        sa.CheckConstraint(
            "reason IN ('not-ours', 'quantity', 'price', 'duplicate', 'vat', 'order', 'other')",
            name=op.f("ck_disputes_reason"),
        ),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_disputes_amount_not_below_nought")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_disputes_quantity_above_nought")),
        sa.CheckConstraint(
            "(status = 'credited') = (credit_note_id IS NOT NULL)",
            name=op.f("ck_disputes_credited_by_note"),
        ),
        sa.CheckConstraint(
            "(status = 'open') = (respond_by IS NOT NULL)", name=op.f("ck_disputes_open_has_timer")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_disputes_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "invoice_id"],
            ["invoices.account_id", "invoices.id"],
            name=op.f("fk_disputes_account_id_invoice_id_invoices"),
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_disputes")),
    )
    op.create_index(
        "uq_disputes_one_open",
        "disputes",
        ["account_id", "invoice_id", sa.text("coalesce(line_number, 0)")],
        unique=True,
        postgresql_where=sa.text("status IN ('open', 'waiting')"),
    )
    op.create_table(
        "dispute_messages",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("dispute_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("side IN ('trust', 'central')", name=op.f("ck_dispute_messages_side")),
        sa.ForeignKeyConstraint(
            ["account_id", "dispute_id"],
            ["disputes.account_id", "disputes.id"],
            name=op.f("fk_dispute_messages_account_id_dispute_id_disputes"),
        ),
        sa.PrimaryKeyConstraint(
            "account_id", "dispute_id", "number", name=op.f("pk_dispute_messages")
        ),
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON dispute_messages "
        "FOR EACH ROW EXECUTE FUNCTION paygo_refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON dispute_messages "
        "FOR EACH STATEMENT EXECUTE FUNCTION paygo_refuse_change()"
    )


def downgrade() -> None:
    op.drop_table("dispute_messages")
    op.drop_table("disputes")
