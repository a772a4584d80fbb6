"""Cost centres, required orders, small invoices carried over, and the list before issue."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

STATUSES = "'waiting', 'drafted', 'nothing-due', 'parked', 'held', 'issued'"


def upgrade() -> None:
    op.create_table(
        "allocation_rules",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=True),
        sa.Column("meter", sa.Text(), nullable=True),
        sa.Column("dimensions", postgresql.JSONB(), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("shares", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "ends_on IS NULL OR ends_on > starts_on",
            name=op.f("ck_allocation_rules_ends_after_start"),
        ),
        sa.CheckConstraint(
            "meter IS NULL OR tariff_code IS NOT NULL",
            name=op.f("ck_allocation_rules_meter_of_a_tariff"),
        ),
        postgresql.ExcludeConstraint(
            ("account_id", "="),
            (sa.text("coalesce(tariff_code, '')"), "="),
            (sa.text("coalesce(meter, '')"), "="),
            ("selector", "="),
            (sa.text("daterange(starts_on, ends_on)"), "&&"),
            name="ex_allocation_rules_one_at_a_time",
            using="gist",
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_allocation_rules_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_code"], ["tariffs.code"], name=op.f("fk_allocation_rules_tariff_code_tariffs")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_allocation_rules")),
    )
    op.add_column(
        "accounts",
        sa.Column("order_required", sa.Boolean(), server_default="false", nullable=False),
    )
    op.add_column("invoice_lines", sa.Column("cost_centre", sa.Text(), nullable=True))
    op.add_column("invoice_lines", sa.Column("subjective_code", sa.Text(), nullable=True))
    op.add_column(
        "bill_runs",
        sa.Column(
            "smallest_invoice",
            sa.Numeric(precision=18, scale=2),
            server_default="0.00",
            nullable=False,
        ),
    )
    op.add_column(
        "bill_run_accounts",
        sa.Column("checklist", postgresql.JSONB(), server_default="[]", nullable=False),
    )
    op.drop_constraint(op.f("ck_bill_run_accounts_status"), "bill_run_accounts")
    op.create_check_constraint(
        op.f("ck_bill_run_accounts_status"),
        "bill_run_accounts",
        f"status IN ({STATUSES}, 'carried-over')",
    )


def downgrade() -> None:
    op.execute("UPDATE bill_run_accounts SET status = 'held' WHERE status = 'carried-over'")
    op.drop_constraint(op.f("ck_bill_run_accounts_status"), "bill_run_accounts")
    op.create_check_constraint(
        op.f("ck_bill_run_accounts_status"), "bill_run_accounts", f"status IN ({STATUSES})"
    )
    op.drop_column("bill_run_accounts", "checklist")
    op.drop_column("bill_runs", "smallest_invoice")
    op.drop_column("invoice_lines", "subjective_code")
    op.drop_column("invoice_lines", "cost_centre")
    op.drop_column("accounts", "order_required")
    op.drop_table("allocation_rules")
