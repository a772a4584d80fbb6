"""Pages that stay quick with a nation behind them: indexes for what they look up."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_audit_entries_principal", "audit_entries", ["principal"])
    op.create_index("ix_audit_entries_action", "audit_entries", ["action"])
    op.create_index("ix_allocations_made_at", "allocations", ["made_at"])
    op.create_index("ix_allocations_effective_on", "allocations", ["effective_on"])
    op.create_index(
        "ix_ledger_postings_ledger_account_service",
        "ledger_postings",
        ["ledger_account", "service"],
        postgresql_include=["amount"],
    )
    op.create_index(
        "ix_invoice_lines_sums",
        "invoice_lines",
        ["account_id", "invoice_id"],
        postgresql_include=["kind", "tariff_code", "net"],
    )
    op.drop_index("ix_charges_month_tariff_code", "charges")
    op.create_index(
        "ix_charges_month_tariff_code",
        "charges",
        ["month", "tariff_code", "account_id"],
        postgresql_include=["amount", "quantity", "meter", "unit"],
    )


def downgrade() -> None:
    op.drop_index("ix_invoice_lines_sums", "invoice_lines")
    op.drop_index("ix_charges_month_tariff_code", "charges")
    op.create_index("ix_charges_month_tariff_code", "charges", ["month", "tariff_code"])
    op.drop_index("ix_ledger_postings_ledger_account_service", "ledger_postings")
    op.drop_index("ix_allocations_effective_on", "allocations")
    op.drop_index("ix_allocations_made_at", "allocations")
    op.drop_index("ix_audit_entries_action", "audit_entries")
    op.drop_index("ix_audit_entries_principal", "audit_entries")
