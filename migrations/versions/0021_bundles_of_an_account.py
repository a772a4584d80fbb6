"""A trust bundles its own documents; a month of the central team's stays as it was."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# A part belongs to whoever may see its bundle.
PARTS = "EXISTS (SELECT 1 FROM bundles AS mine WHERE mine.id = bundle_parts.bundle_id)"


def upgrade() -> None:
    op.alter_column("bundles", "run_id", nullable=True)
    op.add_column("bundles", sa.Column("account_id", sa.Text(), nullable=True))
    op.add_column("bundles", sa.Column("first_month", sa.Date(), nullable=True))
    op.add_column("bundles", sa.Column("last_month", sa.Date(), nullable=True))
    op.create_foreign_key(
        op.f("fk_bundles_account_id_accounts"), "bundles", "accounts", ["account_id"], ["id"]
    )
    op.create_index(op.f("ix_bundles_account_id"), "bundles", ["account_id"])
    op.create_check_constraint(
        op.f("ck_bundles_run_or_account"), "bundles", "(run_id IS NULL) <> (account_id IS NULL)"
    )
    op.create_check_constraint(
        op.f("ck_bundles_account_has_months"),
        "bundles",
        "(account_id IS NULL) = (first_month IS NULL)"
        " AND (account_id IS NULL) = (last_month IS NULL)",
    )
    op.execute("SELECT paygo_share('bundles', 'SELECT, INSERT')")
    op.execute(f"SELECT paygo_share('bundle_parts', 'SELECT', '{PARTS}')")


def downgrade() -> None:
    for table in ("bundle_parts", "bundles"):
        op.execute(f"REVOKE ALL ON {table} FROM paygo_portal")
        op.execute(f"DROP POLICY portal ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    # Bundles are made of what is kept elsewhere; those of accounts have no place before this.
    op.execute(
        "DELETE FROM bundle_parts USING bundles"
        " WHERE bundles.id = bundle_parts.bundle_id AND bundles.run_id IS NULL"
    )
    op.execute("DELETE FROM bundles WHERE run_id IS NULL")
    op.drop_constraint(op.f("ck_bundles_account_has_months"), "bundles")
    op.drop_constraint(op.f("ck_bundles_run_or_account"), "bundles")
    op.drop_index(op.f("ix_bundles_account_id"), "bundles")
    op.drop_constraint(op.f("fk_bundles_account_id_accounts"), "bundles")
    op.drop_column("bundles", "last_month")
    op.drop_column("bundles", "first_month")
    op.drop_column("bundles", "account_id")
    op.alter_column("bundles", "run_id", nullable=False)
