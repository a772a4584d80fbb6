"""All documents of a bill run in one file."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bundles",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("invoices_done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("invoices_total", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('waiting', 'running', 'done', 'failed')", name=op.f("ck_bundles_status")
        ),
        sa.CheckConstraint(
            "(status = 'done') = (sha256 IS NOT NULL)", name=op.f("ck_bundles_done_has_digest")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["bill_runs.id"], name=op.f("fk_bundles_run_id_bill_runs")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bundles")),
    )
    op.create_index(op.f("ix_bundles_run_id"), "bundles", ["run_id"])
    op.create_table(
        "bundle_parts",
        sa.Column("bundle_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["bundle_id"], ["bundles.id"], name=op.f("fk_bundle_parts_bundle_id_bundles")
        ),
        sa.PrimaryKeyConstraint("bundle_id", "number", name=op.f("pk_bundle_parts")),
    )


def downgrade() -> None:
    op.drop_table("bundle_parts")
    op.drop_table("bundles")
