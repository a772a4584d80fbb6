"""Money in: the ledger, what documents leave open, payments, bank lines, Stripe, reminders.

Triggers keep the running sums on which the checks against spending twice stand, and refuse
every other change of them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

APPEND_ONLY = ("ledger_entries", "ledger_postings", "allocations")

# Table, columns that only triggers change, columns that may change directly.
GUARDED = (
    ("receivables", "allocated,refunded", ""),
    ("payments", "allocated,refunded", "reversed_at"),
    ("refunds", "", "status,remote_id,sent_at,failed_at"),
    ("bank_statements", "", ""),
    ("bank_lines", "identified", ""),
    ("bank_line_uses", "", "undone_at,undone_by,undo_reason"),
    ("remittance_advices", "", ""),
)

FUNCTIONS = (
    """
    CREATE FUNCTION paygo_guard_counters() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        free text[] := string_to_array(TG_ARGV[1], ',');
    BEGIN
        -- Inside another trigger, that is from an allocation, refund or use of a bank line.
        IF pg_trigger_depth() > 1 THEN free := free || string_to_array(TG_ARGV[0], ','); END IF;
        IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - free = to_jsonb(OLD) - free THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'what % says of money received cannot be changed: % refused',
            TG_TABLE_NAME, TG_OP USING ERRCODE = 'integrity_constraint_violation';
    END $$
    """,
    """
    CREATE FUNCTION paygo_check_entry() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        entry ledger_entries%ROWTYPE;
        posted record;
    BEGIN
        IF TG_TABLE_NAME = 'ledger_entries' THEN
            entry := NEW;
        ELSE
            SELECT * INTO entry FROM ledger_entries WHERE id = NEW.entry_id;
        END IF;
        SELECT count(*) AS number, coalesce(sum(amount), 0) AS total,
                coalesce(sum(amount) FILTER (WHERE amount > 0), 0) AS debits
            INTO posted FROM ledger_postings WHERE entry_id = entry.id;
        IF posted.total <> 0 OR posted.number <> entry.posting_count
            OR posted.debits <> entry.debits THEN
            RAISE EXCEPTION 'ledger entry % does not balance: % postings, debits %, difference %',
                entry.id, posted.number, posted.debits, posted.total
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION paygo_apply_allocation() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.undoes IS NOT NULL THEN
            PERFORM 1 FROM allocations AS made
                WHERE made.account_id = NEW.account_id AND made.id = NEW.undoes
                    AND made.undoes IS NULL AND made.amount = -NEW.amount
                    AND made.kind = NEW.kind AND made.invoice_id = NEW.invoice_id
                    AND made.payment_id IS NOT DISTINCT FROM NEW.payment_id
                    AND made.credit_note_id IS NOT DISTINCT FROM NEW.credit_note_id;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'allocation % does not undo %', NEW.id, NEW.undoes
                    USING ERRCODE = 'integrity_constraint_violation';
            END IF;
        END IF;
        UPDATE receivables SET allocated = allocated + NEW.amount
            WHERE account_id = NEW.account_id AND document_id = NEW.invoice_id
                AND kind = 'invoice';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'money is set against invoices alone, not %', NEW.invoice_id
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF NEW.payment_id IS NOT NULL THEN
            UPDATE payments SET allocated = allocated + NEW.amount
                WHERE account_id = NEW.account_id AND id = NEW.payment_id;
        END IF;
        IF NEW.credit_note_id IS NOT NULL THEN
            UPDATE receivables SET allocated = allocated + NEW.amount
                WHERE account_id = NEW.account_id AND document_id = NEW.credit_note_id
                    AND kind = 'credit-note';
            IF NOT FOUND THEN
                RAISE EXCEPTION '% is not a credit note', NEW.credit_note_id
                    USING ERRCODE = 'integrity_constraint_violation';
            END IF;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION paygo_apply_refund() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        change numeric;
    BEGIN
        IF TG_OP = 'INSERT' THEN
            IF NEW.status = 'failed' THEN RETURN NULL; END IF;
            change := NEW.amount;
        ELSIF OLD.status <> 'failed' AND NEW.status = 'failed' THEN
            change := -NEW.amount;
        ELSIF OLD.status = 'failed' AND NEW.status <> 'failed' THEN
            RAISE EXCEPTION 'refund % has failed; make another', NEW.id
                USING ERRCODE = 'integrity_constraint_violation';
        ELSE
            RETURN NULL;
        END IF;
        IF NEW.payment_id IS NOT NULL THEN
            UPDATE payments SET refunded = refunded + change
                WHERE account_id = NEW.account_id AND id = NEW.payment_id;
        ELSE
            UPDATE receivables SET refunded = refunded + change
                WHERE account_id = NEW.account_id AND document_id = NEW.credit_note_id;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION paygo_apply_bank_line_use() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            UPDATE bank_lines SET identified = identified + NEW.amount WHERE id = NEW.bank_line_id;
        ELSIF OLD.undone_at IS NULL AND NEW.undone_at IS NOT NULL THEN
            UPDATE bank_lines SET identified = identified - NEW.amount WHERE id = NEW.bank_line_id;
        ELSE
            RAISE EXCEPTION 'the use % of a bank line is undone once', NEW.id
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
)

APPLIED = (
    ("allocations", "INSERT", "paygo_apply_allocation"),
    ("refunds", "INSERT OR UPDATE", "paygo_apply_refund"),
    ("bank_line_uses", "INSERT OR UPDATE", "paygo_apply_bank_line_use"),
)


def upgrade() -> None:
    op.create_table(
        "bank_statements",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("imported_by", sa.Text(), nullable=False),
        sa.CheckConstraint("format IN ('csv', 'camt.053')", name=op.f("ck_bank_statements_format")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_statements")),
        sa.UniqueConstraint("sha256", name=op.f("uq_bank_statements_sha256")),
    )
    op.create_table(
        "ledger_codes",
        sa.Column("ledger_account", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("cost_centre", sa.Text(), nullable=False),
        sa.Column("subjective_code", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("ledger_account", "service", name=op.f("pk_ledger_codes")),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("reverses_id", sa.Text(), nullable=True),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("posted_on", sa.Date(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("posting_count", sa.Integer(), nullable=False),
        sa.Column("debits", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("posted_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(kind = 'undo') = (reverses_id IS NOT NULL)",
            name=op.f("ck_ledger_entries_undo_reverses"),
        ),
        sa.CheckConstraint(
            "posting_count > 1 OR posting_count = 0", name=op.f("ck_ledger_entries_two_sides")
        ),
        sa.ForeignKeyConstraint(
            ["reverses_id"],
            ["ledger_entries.id"],
            name=op.f("fk_ledger_entries_reverses_id_ledger_entries"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint("kind", "subject_id", name=op.f("uq_ledger_entries_kind_subject_id")),
        sa.UniqueConstraint("reverses_id", name=op.f("uq_ledger_entries_reverses_id")),
    )
    op.create_index("ix_ledger_entries_posted_on", "ledger_entries", ["posted_on"], unique=False)
    op.create_table(
        "remittance_advices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("paid_on", sa.Date(), nullable=False),
        sa.Column("total", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("items", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("imported_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remittance_advices")),
        sa.UniqueConstraint("sha256", name=op.f("uq_remittance_advices_sha256")),
    )
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('waiting', 'applied', 'ignored', 'failed')",
            name=op.f("ck_webhook_events_outcome"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
    )
    op.create_index(
        "ix_webhook_events_waiting",
        "webhook_events",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("outcome = 'waiting'"),
    )
    op.create_table(
        "bank_lines",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("statement_id", sa.Text(), nullable=False),
        sa.Column("bank_account", sa.Text(), nullable=False),
        sa.Column("line_key", sa.Text(), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("counterparty", sa.Text(), nullable=False),
        sa.Column("counterparty_account", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column(
            "identified", sa.Numeric(precision=18, scale=2), server_default="0", nullable=False
        ),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(amount > 0 AND identified BETWEEN 0 AND amount) OR (amount < 0 AND identified BETWEEN amount AND 0)",
            name=op.f("ck_bank_lines_identified_at_most_once"),
        ),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_bank_lines_not_nought")),
        sa.ForeignKeyConstraint(
            ["statement_id"],
            ["bank_statements.id"],
            name=op.f("fk_bank_lines_statement_id_bank_statements"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_lines")),
        sa.UniqueConstraint(
            "bank_account", "line_key", name=op.f("uq_bank_lines_bank_account_line_key")
        ),
    )
    op.create_index(
        "ix_bank_lines_unmatched",
        "bank_lines",
        ["booked_on"],
        unique=False,
        postgresql_where=sa.text("identified <> amount"),
    )
    op.create_table(
        "bank_line_uses",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("bank_line_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.Column("undo_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('payment', 'refund', 'returned', 'payout', 'set-aside')",
            name=op.f("ck_bank_line_uses_kind"),
        ),
        sa.CheckConstraint(
            "(undone_at IS NULL) = (undone_by IS NULL)",
            name=op.f("ck_bank_line_uses_undone_by_someone"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_bank_line_uses_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["bank_line_id"],
            ["bank_lines.id"],
            name=op.f("fk_bank_line_uses_bank_line_id_bank_lines"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_line_uses")),
    )
    op.create_index(
        "ix_bank_line_uses_bank_line_id", "bank_line_uses", ["bank_line_id"], unique=False
    )
    op.create_table(
        "gateway_calls",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_tried_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'done', 'refused')", name=op.f("ck_gateway_calls_status")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_gateway_calls_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_gateway_calls")),
        sa.UniqueConstraint(
            "account_id",
            "action",
            "subject_id",
            name=op.f("uq_gateway_calls_account_id_action_subject_id"),
        ),
    )
    op.create_index(
        "ix_gateway_calls_open",
        "gateway_calls",
        ["status"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "ledger_postings",
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("ledger_account", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("service", sa.Text(), server_default="", nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.CheckConstraint(
            "(ledger_account = 'revenue') = (service <> '')",
            name=op.f("ck_ledger_postings_revenue_service"),
        ),
        sa.CheckConstraint(
            "ledger_account IN ('receivable', 'credit', 'unallocated', 'cash', 'stripe', 'revenue', 'vat', 'write-off', 'other')",
            name=op.f("ck_ledger_postings_ledger_account"),
        ),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_ledger_postings_not_nought")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_ledger_postings_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["ledger_entries.id"],
            name=op.f("fk_ledger_postings_entry_id_ledger_entries"),
        ),
        sa.PrimaryKeyConstraint("entry_id", "number", name=op.f("pk_ledger_postings")),
    )
    op.create_index(
        "ix_ledger_postings_account_id_ledger_account",
        "ledger_postings",
        ["account_id", "ledger_account"],
        unique=False,
    )
    op.create_table(
        "payments",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_ref", sa.Text(), nullable=False),
        sa.Column("received_on", sa.Date(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column(
            "allocated", sa.Numeric(precision=18, scale=2), server_default="0", nullable=False
        ),
        sa.Column(
            "refunded", sa.Numeric(precision=18, scale=2), server_default="0", nullable=False
        ),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("reversed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("source IN ('bank', 'stripe')", name=op.f("ck_payments_source")),
        sa.CheckConstraint(
            "allocated >= 0 AND refunded >= 0 AND allocated + refunded <= amount",
            name=op.f("ck_payments_never_more_than_amount"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_payments_amount")),
        sa.CheckConstraint(
            "reversed_at IS NULL OR allocated + refunded = 0",
            name=op.f("ck_payments_reversed_is_unused"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_payments_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_payments")),
    )
    op.create_index(
        "uq_payments_account_id_stripe",
        "payments",
        ["account_id", "source_ref"],
        unique=True,
        postgresql_where=sa.text("source = 'stripe'"),
    )
    op.create_table(
        "reminder_schedules",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("days", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_reminder_schedules_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_reminder_schedules")),
    )
    op.create_table(
        "receivables",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("total", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column(
            "allocated", sa.Numeric(precision=18, scale=2), server_default="0", nullable=False
        ),
        sa.Column(
            "refunded", sa.Numeric(precision=18, scale=2), server_default="0", nullable=False
        ),
        sa.Column("credits_document_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind = 'credit-note' OR refunded = 0",
            name=op.f("ck_receivables_only_credit_is_refunded"),
        ),
        sa.CheckConstraint("kind IN ('invoice', 'credit-note')", name=op.f("ck_receivables_kind")),
        sa.CheckConstraint(
            "allocated >= 0 AND refunded >= 0 AND allocated + refunded <= total",
            name=op.f("ck_receivables_never_more_than_total"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "document_id"],
            ["invoices.account_id", "invoices.id"],
            name=op.f("fk_receivables_account_id_document_id_invoices"),
        ),
        sa.PrimaryKeyConstraint("account_id", "document_id", name=op.f("pk_receivables")),
    )
    op.create_index(
        "ix_receivables_due_on",
        "receivables",
        ["due_on"],
        unique=False,
        postgresql_where=sa.text("allocated < total"),
    )
    op.create_index("ix_receivables_number", "receivables", ["number"], unique=False)
    op.create_table(
        "allocations",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=True),
        sa.Column("credit_note_id", sa.Text(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("undoes", sa.Text(), nullable=True),
        sa.Column("effective_on", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(kind = 'credit') = (credit_note_id IS NOT NULL)",
            name=op.f("ck_allocations_credit_note"),
        ),
        sa.CheckConstraint(
            "(kind = 'payment') = (payment_id IS NOT NULL)", name=op.f("ck_allocations_payment")
        ),
        sa.CheckConstraint(
            "kind IN ('payment', 'credit', 'write-off')", name=op.f("ck_allocations_kind")
        ),
        sa.CheckConstraint(
            "amount <> 0 AND (amount > 0) = (undoes IS NULL)",
            name=op.f("ck_allocations_negative_undoes"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "credit_note_id"],
            ["receivables.account_id", "receivables.document_id"],
            name=op.f("fk_allocations_account_id_credit_note_id_receivables"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "invoice_id"],
            ["receivables.account_id", "receivables.document_id"],
            name=op.f("fk_allocations_account_id_invoice_id_receivables"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "payment_id"],
            ["payments.account_id", "payments.id"],
            name=op.f("fk_allocations_account_id_payment_id_payments"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "undoes"],
            ["allocations.account_id", "allocations.id"],
            name=op.f("fk_allocations_account_id_undoes_allocations"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_allocations_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_allocations")),
        sa.UniqueConstraint("account_id", "undoes", name=op.f("uq_allocations_account_id_undoes")),
    )
    op.create_index(
        "ix_allocations_account_id_invoice_id",
        "allocations",
        ["account_id", "invoice_id"],
        unique=False,
    )
    op.create_index(
        "ix_allocations_account_id_payment_id",
        "allocations",
        ["account_id", "payment_id"],
        unique=False,
    )
    op.create_table(
        "refunds",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=True),
        sa.Column("credit_note_id", sa.Text(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('requested', 'sent', 'failed')", name=op.f("ck_refunds_status")
        ),
        sa.CheckConstraint("via IN ('bank', 'stripe')", name=op.f("ck_refunds_via")),
        sa.CheckConstraint(
            "(payment_id IS NULL) <> (credit_note_id IS NULL)", name=op.f("ck_refunds_one_origin")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_refunds_amount")),
        sa.ForeignKeyConstraint(
            ["account_id", "credit_note_id"],
            ["receivables.account_id", "receivables.document_id"],
            name=op.f("fk_refunds_account_id_credit_note_id_receivables"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "payment_id"],
            ["payments.account_id", "payments.id"],
            name=op.f("fk_refunds_account_id_payment_id_payments"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_refunds_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_refunds")),
    )
    op.create_table(
        "reminders",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("to", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "invoice_id"],
            ["receivables.account_id", "receivables.document_id"],
            name=op.f("fk_reminders_account_id_invoice_id_receivables"),
        ),
        sa.PrimaryKeyConstraint("account_id", "invoice_id", "step", name=op.f("pk_reminders")),
    )
    op.create_table(
        "stripe_invoices",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("stripe_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount_remaining", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("hosted_url", sa.Text(), nullable=True),
        sa.Column("mirrored_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "invoice_id"],
            ["receivables.account_id", "receivables.document_id"],
            name=op.f("fk_stripe_invoices_account_id_invoice_id_receivables"),
        ),
        sa.PrimaryKeyConstraint("account_id", "invoice_id", name=op.f("pk_stripe_invoices")),
    )
    op.create_index("ix_stripe_invoices_stripe_id", "stripe_invoices", ["stripe_id"], unique=False)
    for function in FUNCTIONS:
        op.execute(function)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION paygo_refuse_change()"
        )
    for table in (*APPEND_ONLY, *(table for table, _, _ in GUARDED)):
        op.execute(
            f"CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION paygo_refuse_change()"
        )
    for table, counters, free in GUARDED:
        op.execute(
            f"CREATE TRIGGER guard_counters BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION paygo_guard_counters('{counters}', '{free}')"
        )
    for table, when, function in APPLIED:
        op.execute(
            f"CREATE TRIGGER apply_sums AFTER {when} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {function}()"
        )
    for table in ("ledger_entries", "ledger_postings"):
        op.execute(
            f"CREATE CONSTRAINT TRIGGER balances AFTER INSERT ON {table} "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION paygo_check_entry()"
        )


def downgrade() -> None:
    op.drop_index("ix_stripe_invoices_stripe_id", table_name="stripe_invoices")
    op.drop_table("stripe_invoices")
    op.drop_table("reminders")
    op.drop_table("refunds")
    op.drop_index("ix_allocations_account_id_payment_id", table_name="allocations")
    op.drop_index("ix_allocations_account_id_invoice_id", table_name="allocations")
    op.drop_table("allocations")
    op.drop_index("ix_receivables_number", table_name="receivables")
    op.drop_index(
        "ix_receivables_due_on",
        table_name="receivables",
        postgresql_where=sa.text("allocated < total"),
    )
    op.drop_table("receivables")
    op.drop_table("reminder_schedules")
    op.drop_index(
        "uq_payments_account_id_stripe",
        table_name="payments",
        postgresql_where=sa.text("source = 'stripe'"),
    )
    op.drop_table("payments")
    op.drop_index("ix_ledger_postings_account_id_ledger_account", table_name="ledger_postings")
    op.drop_table("ledger_postings")
    op.drop_index(
        "ix_gateway_calls_open",
        table_name="gateway_calls",
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.drop_table("gateway_calls")
    op.drop_index("ix_bank_line_uses_bank_line_id", table_name="bank_line_uses")
    op.drop_table("bank_line_uses")
    op.drop_index(
        "ix_bank_lines_unmatched",
        table_name="bank_lines",
        postgresql_where=sa.text("identified <> amount"),
    )
    op.drop_table("bank_lines")
    op.drop_index(
        "ix_webhook_events_waiting",
        table_name="webhook_events",
        postgresql_where=sa.text("outcome = 'waiting'"),
    )
    op.drop_table("webhook_events")
    op.drop_table("remittance_advices")
    op.drop_index("ix_ledger_entries_posted_on", table_name="ledger_entries")
    op.drop_table("ledger_entries")
    op.drop_table("ledger_codes")
    op.drop_table("bank_statements")
    for function in (
        "paygo_apply_bank_line_use",
        "paygo_apply_refund",
        "paygo_apply_allocation",
        "paygo_check_entry",
        "paygo_guard_counters",
    ):
        op.execute(f"DROP FUNCTION {function}()")
