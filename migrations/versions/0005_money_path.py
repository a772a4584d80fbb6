"""What the money path needs: successors, superseded versions, bases of credit notes.

Also closes two ways round immutability: a line moved from a draft into an issued invoice,
and TRUNCATE.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SHARED_KEY = ("price_key", "scope", "group_code", "terms_code")
NO_TRUNCATE = ("invoices", "invoice_lines", "tariff_versions")

_GUARD_LINE = """
    CREATE OR REPLACE FUNCTION paygo_guard_invoice_line() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        line record;
        parent_status text;
    BEGIN
        IF TG_OP = 'INSERT' THEN line := NEW; ELSE line := OLD; END IF;
        {moved}
        SELECT status INTO parent_status FROM invoices
            WHERE account_id = line.account_id AND id = line.invoice_id;
        IF parent_status = 'draft' THEN
            IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'lines of invoice % cannot change: it is %', line.invoice_id, parent_status
            USING ERRCODE = 'integrity_constraint_violation';
    END $$
"""
_MOVED = """
        IF TG_OP = 'UPDATE' AND (NEW.account_id, NEW.invoice_id) <> (OLD.account_id, OLD.invoice_id) THEN
            RAISE EXCEPTION 'line % of invoice % cannot move to another', OLD.number, OLD.invoice_id
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
"""
_GUARD_VERSION = """
    CREATE OR REPLACE FUNCTION paygo_guard_tariff_version() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            IF OLD.status IN ('draft', 'withdrawn') AND OLD.approved_at IS NULL THEN RETURN OLD; END IF;
        ELSIF OLD.status = 'draft' THEN
            RETURN NEW;
        ELSIF OLD.status IN ('approved', 'superseded') THEN
            IF NEW.status IN ({after_approval})
                AND to_jsonb(NEW) - 'effective_to' - 'status' = to_jsonb(OLD) - 'effective_to' - 'status' THEN
                RETURN NEW;
            END IF;
        ELSIF OLD.status = 'submitted' AND NEW.content = OLD.content AND NEW.effective_from = OLD.effective_from
            AND NEW.author = OLD.author AND NEW.version = OLD.version THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'tariff version % is %: its contents cannot change', OLD.id, OLD.status
            USING ERRCODE = 'integrity_constraint_violation';
    END $$
"""


def upgrade() -> None:
    op.add_column(
        "accounts",
        sa.Column("in_nhs_vat_division", sa.Boolean(), server_default="false", nullable=False),
    )
    op.add_column("accounts", sa.Column("successor_id", sa.Text(), nullable=True))
    op.create_foreign_key(
        "fk_accounts_successor_id_accounts", "accounts", "accounts", ["successor_id"], ["id"]
    )
    op.add_column("tariffs", sa.Column("invoiced_to", sa.Date(), nullable=True))
    op.drop_constraint("ck_tariff_versions_status", "tariff_versions")
    op.create_check_constraint(
        op.f("ck_tariff_versions_status"),
        "tariff_versions",
        "status IN ('draft', 'submitted', 'approved', 'superseded', 'withdrawn')",
    )
    op.add_column("invoices", sa.Column("credit_basis", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_invoices_credit_note_has_basis"),
        "invoices",
        "(kind = 'credit-note') = (credit_basis IS NOT NULL)",
    )
    op.create_check_constraint(
        op.f("ck_invoices_credit_basis"),
        "invoices",
        "credit_basis IN ('concession', 'rebill', 'overcharge')",
    )
    op.add_column("invoice_lines", sa.Column("charge_id", sa.Text(), nullable=True))
    op.add_column("invoice_lines", sa.Column("credits_line", sa.Integer(), nullable=True))
    op.create_table(
        "month_ratings",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("positions", postgresql.JSONB(), nullable=False),
        sa.Column("rated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("month", name=op.f("pk_month_ratings")),
    )
    # Nothing has been rated before this migration: what is worked out again needs no default.
    op.execute("DELETE FROM ratings")
    op.execute("DELETE FROM charges")
    op.execute("DELETE FROM parked_usage")
    op.add_column("ratings", sa.Column("result_fingerprint", sa.Text(), nullable=False))
    op.add_column("ratings", sa.Column("positions", postgresql.JSONB(), nullable=False))
    for name in ("group_code", "terms_code", "vat"):
        op.add_column("charges", sa.Column(name, sa.Text(), nullable=False))
    op.add_column("parked_usage", sa.Column("dimensions", postgresql.JSONB(), nullable=False))
    op.drop_table("pool_totals")
    op.create_table(
        "pool_totals",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("version_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _SHARED_KEY),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("joint_quantity", sa.Numeric(), nullable=False),
        sa.Column("joint_amount", sa.Numeric(), nullable=False),
        sa.Column("blended_price", sa.Numeric(), nullable=True),
        sa.Column("blended_fraction", sa.Text(), nullable=True),
        sa.Column("amount", sa.Numeric(18, 2), nullable=False),
        sa.Column("saving", sa.Numeric(18, 2), nullable=False),
        sa.Column("true_up", sa.Numeric(), nullable=False),
        sa.Column("member_count", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["tariff_versions.id"],
            name=op.f("fk_pool_totals_version_id_tariff_versions"),
        ),
        sa.PrimaryKeyConstraint("month", "version_id", *_SHARED_KEY, name=op.f("pk_pool_totals")),
    )
    op.create_table(
        "pool_shares",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("version_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _SHARED_KEY),
        sa.Column("exact", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(18, 2), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_pool_shares_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint(
            "account_id", "month", "version_id", *_SHARED_KEY, name=op.f("pk_pool_shares")
        ),
    )
    op.execute(_GUARD_LINE.format(moved=_MOVED))
    op.execute(_GUARD_VERSION.format(after_approval="'approved', 'superseded', 'withdrawn'"))
    for table in NO_TRUNCATE:
        op.execute(
            f"CREATE TRIGGER issued_is_not_truncated BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION paygo_refuse_change()"
        )


def downgrade() -> None:
    for table in NO_TRUNCATE:
        op.execute(f"DROP TRIGGER issued_is_not_truncated ON {table}")
    op.execute(_GUARD_VERSION.format(after_approval="'approved'"))
    op.execute(_GUARD_LINE.format(moved=""))
    op.drop_table("pool_shares")
    op.drop_table("pool_totals")
    op.create_table(
        "pool_totals",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("version_id", sa.Text(), nullable=False),
        sa.Column("price_key", sa.Text(), nullable=False),
        sa.Column("group_code", sa.Text(), server_default="", nullable=False),
        sa.Column("joint_quantity", sa.Numeric(38, 9), nullable=False),
        sa.Column("joint_amount", sa.Numeric(), nullable=False),
        sa.Column("alone_amount", sa.Numeric(), nullable=False),
        sa.Column("member_count", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["tariff_versions.id"],
            name=op.f("fk_pool_totals_version_id_tariff_versions"),
        ),
        sa.PrimaryKeyConstraint(
            "month", "version_id", "price_key", "group_code", name=op.f("pk_pool_totals")
        ),
    )
    op.drop_column("parked_usage", "dimensions")
    for name in ("vat", "terms_code", "group_code"):
        op.drop_column("charges", name)
    op.drop_column("ratings", "positions")
    op.drop_column("ratings", "result_fingerprint")
    op.drop_table("month_ratings")
    op.drop_column("invoice_lines", "credits_line")
    op.drop_column("invoice_lines", "charge_id")
    op.drop_column("invoices", "credit_basis")
    op.drop_constraint("ck_tariff_versions_status", "tariff_versions")
    op.create_check_constraint(
        op.f("ck_tariff_versions_status"),
        "tariff_versions",
        "status IN ('draft', 'submitted', 'approved', 'withdrawn')",
    )
    op.drop_column("tariffs", "invoiced_to")
    op.drop_column("accounts", "successor_id")
    op.drop_column("accounts", "in_nhs_vat_division")
