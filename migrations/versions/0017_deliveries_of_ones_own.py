"""A trust's pages show what was sent to it, and send it again."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# Rows that name no account: found only through one that the role can see.
DELIVERIES = "EXISTS (SELECT 1 FROM announcements AS mine WHERE mine.id = announcement_id)"
ATTEMPTS = "EXISTS (SELECT 1 FROM deliveries AS mine WHERE mine.id = delivery_id)"


def upgrade() -> None:
    op.execute("GRANT SELECT ON announcements TO paygo_portal")
    op.execute(f"SELECT paygo_share('deliveries', 'SELECT, UPDATE', '{DELIVERIES}')")
    op.execute(f"SELECT paygo_share('delivery_attempts', 'SELECT', '{ATTEMPTS}')")


def downgrade() -> None:
    for table in ("delivery_attempts", "deliveries"):
        op.execute(f"REVOKE ALL ON {table} FROM paygo_portal")
        op.execute(f"DROP POLICY portal ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.execute("REVOKE SELECT ON announcements FROM paygo_portal")
