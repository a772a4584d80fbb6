"""Withdraw an event once, find it by its time, and know when a remembered catalogue is stale."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cache_versions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cache_versions")),
    )
    op.create_table(
        "event_withdrawals",
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("event_key", sa.Uuid(), nullable=False),
        sa.Column("withdrawn_by", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "event_key", name=op.f("pk_event_withdrawals")),
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON event_withdrawals "
        "FOR EACH ROW EXECUTE FUNCTION paygo_refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON event_withdrawals "
        "FOR EACH STATEMENT EXECUTE FUNCTION paygo_refuse_change()"
    )
    op.add_column(
        "event_keys", sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False)
    )
    op.drop_index("ix_usage_events_batch_id", table_name="usage_events", postgresql_using="brin")
    op.create_index(
        "ix_usage_events_batch_id",
        "usage_events",
        ["batch_id"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on", "pages_per_range": "32"},
    )


def downgrade() -> None:
    op.drop_index("ix_usage_events_batch_id", table_name="usage_events", postgresql_using="brin")
    op.create_index(
        "ix_usage_events_batch_id", "usage_events", ["batch_id"], postgresql_using="brin"
    )
    op.drop_column("event_keys", "occurred_at")
    op.drop_table("event_withdrawals")
    op.drop_table("cache_versions")
