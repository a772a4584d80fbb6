"""Forecasts, accruals and budgets; what was booked and warned of is never rewritten."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

APPEND_ONLY = ("accruals", "accruals_taken", "budget_warnings")


def upgrade() -> None:
    op.create_table(
        "accruals_taken",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("month", name=op.f("pk_accruals_taken")),
    )
    op.create_table(
        "accruals",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=False),
        sa.Column("usage_month", sa.Date(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_accruals_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_code"], ["tariffs.code"], name=op.f("fk_accruals_tariff_code_tariffs")
        ),
        sa.PrimaryKeyConstraint(
            "account_id", "month", "tariff_code", "usage_month", name=op.f("pk_accruals")
        ),
    )
    op.create_table(
        "budgets",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("per", sa.Text(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=True),
        sa.Column("cost_centre", sa.Text(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("shares", postgresql.JSONB(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("per IN ('month', 'financial-year')", name=op.f("ck_budgets_per")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_budgets_amount_above_nought")),
        sa.CheckConstraint(
            "tariff_code IS NULL OR cost_centre IS NULL", name=op.f("ck_budgets_one_scope")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_budgets_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_code"], ["tariffs.code"], name=op.f("fk_budgets_tariff_code_tariffs")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_budgets")),
    )
    op.create_index(
        "ix_budgets_one_open",
        "budgets",
        [
            "account_id",
            "per",
            sa.literal_column("coalesce(tariff_code, '')"),
            sa.literal_column("coalesce(cost_centre, '')"),
        ],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "cost_centres",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("cost_centre", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_cost_centres_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_code"], ["tariffs.code"], name=op.f("fk_cost_centres_tariff_code_tariffs")
        ),
        sa.PrimaryKeyConstraint("account_id", "tariff_code", "meter", name=op.f("pk_cost_centres")),
    )
    op.create_table(
        "forecasts",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("made_on", sa.Date(), nullable=False),
        sa.Column("to_date", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("low", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("expected", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("high", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("parts", postgresql.JSONB(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_forecasts_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("account_id", "month", "made_on", name=op.f("pk_forecasts")),
    )
    op.create_table(
        "budget_warnings",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("budget_id", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("share_percent", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("warned_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("basis IN ('spent', 'forecast')", name=op.f("ck_budget_warnings_basis")),
        sa.ForeignKeyConstraint(
            ["account_id", "budget_id"],
            ["budgets.account_id", "budgets.id"],
            name=op.f("fk_budget_warnings_account_id_budget_id_budgets"),
        ),
        sa.PrimaryKeyConstraint(
            "account_id",
            "budget_id",
            "starts_on",
            "basis",
            "share_percent",
            name=op.f("pk_budget_warnings"),
        ),
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION paygo_refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION paygo_refuse_change()"
        )


def downgrade() -> None:

    op.drop_table("budget_warnings")
    op.drop_table("forecasts")
    op.drop_table("cost_centres")
    op.drop_index(
        "ix_budgets_one_open", table_name="budgets", postgresql_where=sa.text("ended_at IS NULL")
    )
    op.drop_table("budgets")
    op.drop_table("accruals")
    op.drop_table("accruals_taken")
