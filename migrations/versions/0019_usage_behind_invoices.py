"""The readings behind an invoice are kept with it, as they stood when it was drafted."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "invoice_usage",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "invoice_id"],
            ["invoices.account_id", "invoices.id"],
            name=op.f("fk_invoice_usage_account_id_invoice_id_invoices"),
        ),
        sa.PrimaryKeyConstraint("account_id", "invoice_id", name=op.f("pk_invoice_usage")),
    )
    # What guards an issued invoice's lines guards this as well.
    op.execute(
        "CREATE TRIGGER issued_is_immutable BEFORE INSERT OR UPDATE OR DELETE ON invoice_usage "
        "FOR EACH ROW EXECUTE FUNCTION paygo_guard_invoice_line()"
    )
    op.execute("SELECT paygo_share('invoice_usage', 'SELECT')")


def downgrade() -> None:
    op.drop_table("invoice_usage")
