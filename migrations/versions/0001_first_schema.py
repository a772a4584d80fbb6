"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.create_table(
        "audit_entries",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_kind", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("previous_seal", sa.Text(), nullable=False),
        sa.Column("seal", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_entries")),
    )
    op.create_index(
        "ix_audit_entries_object_kind_object_id",
        "audit_entries",
        ["object_kind", "object_id"],
        unique=False,
    )
    op.create_table(
        "bill_runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("drafted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checks", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "status IN ('open', 'drafted', 'approved', 'issued')", name=op.f("ck_bill_runs_status")
        ),
        sa.CheckConstraint(
            "approved_by IS NULL OR approved_by <> started_by", name=op.f("ck_bill_runs_four_eyes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bill_runs")),
        sa.UniqueConstraint("month", name=op.f("uq_bill_runs_month")),
    )
    op.create_table(
        "dimension_sets",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("fingerprint", sa.Uuid(), nullable=False),
        sa.Column("dimensions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dimension_sets")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_dimension_sets_fingerprint")),
    )
    op.create_table(
        "event_keys",
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("event_key", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "event_key", name=op.f("pk_event_keys")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "issued_numbers",
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("financial_year", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("seal", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "series", "financial_year", "sequence", name=op.f("pk_issued_numbers")
        ),
        sa.UniqueConstraint("number", name=op.f("uq_issued_numbers_number")),
    )
    op.create_table(
        "job_runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('running', 'succeeded', 'failed', 'abandoned')",
            name=op.f("ck_job_runs_outcome"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_runs")),
    )
    op.create_index("ix_job_runs_job_started_at", "job_runs", ["job", "started_at"], unique=False)
    op.create_table(
        "number_series",
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("financial_year", sa.Integer(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_seal", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("series", "financial_year", name=op.f("pk_number_series")),
    )
    op.create_table(
        "organisations",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ods_code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("postcode", sa.Text(), nullable=True),
        sa.Column("opened_on", sa.Date(), nullable=True),
        sa.Column("closed_from", sa.Date(), nullable=True),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "ods_code ~ '^[A-Z0-9]{3,10}$'", name=op.f("ck_organisations_ods_code_form")
        ),
        sa.CheckConstraint(
            "closed_from IS NULL OR closed_from > opened_on",
            name=op.f("ck_organisations_closes_after_opening"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisations")),
        sa.UniqueConstraint("ods_code", name=op.f("uq_organisations_ods_code")),
    )
    op.create_table(
        "readings",
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("meter_id", sa.Integer(), nullable=False),
        sa.Column("used_on", sa.Date(), nullable=False),
        sa.Column("dimension_set_id", sa.Integer(), nullable=False),
        sa.Column("hour", sa.SmallInteger(), server_default="-1", nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=9), nullable=False),
        sa.Column("event_count", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("hour BETWEEN -1 AND 23", name=op.f("ck_readings_hour")),
        sa.PrimaryKeyConstraint(
            "subject_id",
            "meter_id",
            "used_on",
            "dimension_set_id",
            "hour",
            name=op.f("pk_readings"),
        ),
    )
    op.create_index(
        "ix_readings_used_on_meter_id", "readings", ["used_on", "meter_id"], unique=False
    )
    op.create_table(
        "sign_in_attempts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("remote_address", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_attempts")),
    )
    op.create_index(
        "ix_sign_in_attempts_email_at", "sign_in_attempts", ["email", "at"], unique=False
    )
    op.create_table(
        "sources",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("contact_email", sa.Text(), nullable=True),
        sa.Column("manifest_policy", sa.Text(), server_default="warn", nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "manifest_policy IN ('ignore', 'warn', 'wait')", name=op.f("ck_sources_manifest_policy")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
        sa.UniqueConstraint("code", name=op.f("uq_sources_code")),
    )
    op.create_table(
        "usage_events",
        sa.Column("period_month", sa.Date(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("meter_id", sa.Integer(), nullable=False),
        sa.Column("dimension_set_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("event_key", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=9), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "extract(day FROM period_month) = 1", name=op.f("ck_usage_events_period_month")
        ),
        sa.CheckConstraint("kind IN (0, 1)", name=op.f("ck_usage_events_kind")),
        postgresql_partition_by="RANGE (period_month)",
    )
    op.create_index(
        "ix_usage_events_batch_id",
        "usage_events",
        ["batch_id"],
        unique=False,
        postgresql_using="brin",
    )
    op.create_index(
        "ix_usage_events_subject_id_meter_id_occurred_at",
        "usage_events",
        ["subject_id", "meter_id", "occurred_at"],
        unique=False,
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("must_change_password", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("oidc_subject", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("oidc_subject", name=op.f("uq_users_oidc_subject")),
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organisation_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("postcode", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("vat_number", sa.Text(), nullable=True),
        sa.Column("payment_terms_days", sa.Integer(), server_default="30", nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["organisations.id"],
            name=op.f("fk_accounts_organisation_id_organisations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("organisation_id", name=op.f("uq_accounts_organisation_id")),
    )
    op.create_table(
        "ingest_batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("duplicate", sa.Integer(), nullable=False),
        sa.Column("conflict", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_ingest_batches_source_id_sources")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingest_batches")),
    )
    op.create_index(
        "ix_ingest_batches_source_id_received_at",
        "ingest_batches",
        ["source_id", "received_at"],
        unique=False,
    )
    op.create_index(
        "ix_ingest_batches_unclaimed",
        "ingest_batches",
        ["id"],
        unique=False,
        postgresql_where=sa.text("claimed_at IS NULL"),
    )
    op.create_table(
        "meters",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("aggregation", sa.Text(), nullable=False),
        sa.Column("quantity_field", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("dimensions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("filter", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("resolution", sa.Text(), server_default="day", nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(aggregation = 'count') = (quantity_field IS NULL)",
            name=op.f("ck_meters_quantity_field_unless_count"),
        ),
        sa.CheckConstraint(
            "aggregation IN ('sum', 'count', 'max', 'min', 'unique', 'latest', 'time-weighted')",
            name=op.f("ck_meters_aggregation"),
        ),
        sa.CheckConstraint("resolution IN ('day', 'hour')", name=op.f("ck_meters_resolution")),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_meters_source_id_sources")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meters")),
        sa.UniqueConstraint("code", name=op.f("uq_meters_code")),
    )
    op.create_index(
        "ix_meters_source_id_event_type", "meters", ["source_id", "event_type"], unique=False
    )
    op.create_table(
        "quarantined_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("fate", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("pointer", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "fate IN ('rejected', 'conflict')", name=op.f("ck_quarantined_events_fate")
        ),
        sa.CheckConstraint(
            "status IN ('open', 'replayed', 'dismissed')", name=op.f("ck_quarantined_events_status")
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_quarantined_events_source_id_sources")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantined_events")),
    )
    op.create_index(
        "ix_quarantined_events_source_id_status_received_at",
        "quarantined_events",
        ["source_id", "status", "received_at"],
        unique=False,
    )
    op.create_table(
        "service_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.TEXT()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_service_keys_source_id_sources")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_service_keys_prefix")),
    )
    op.create_index(op.f("ix_service_keys_source_id"), "service_keys", ["source_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], unique=False)
    op.create_table(
        "successions",
        sa.Column("predecessor_id", sa.Integer(), nullable=False),
        sa.Column("successor_id", sa.Integer(), nullable=False),
        sa.Column("effective_on", sa.Date(), nullable=False),
        sa.ForeignKeyConstraint(
            ["predecessor_id"],
            ["organisations.id"],
            name=op.f("fk_successions_predecessor_id_organisations"),
        ),
        sa.ForeignKeyConstraint(
            ["successor_id"],
            ["organisations.id"],
            name=op.f("fk_successions_successor_id_organisations"),
        ),
        sa.PrimaryKeyConstraint("predecessor_id", "successor_id", name=op.f("pk_successions")),
    )
    op.create_table(
        "tariffs",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_tariffs_source_id_sources")
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_tariffs")),
        sa.UniqueConstraint("source_id", name=op.f("uq_tariffs_source_id")),
    )
    op.create_table(
        "agreements",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("pooled", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("group_code", sa.Text(), nullable=True),
        sa.Column("terms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("account_id"), "="),
            (sa.column("tariff_code"), "="),
            (sa.text("daterange(starts_on, ends_on)"), "&&"),
            using="gist",
            name="ex_agreements_one_at_a_time",
        ),
        sa.CheckConstraint(
            "ends_on IS NULL OR ends_on > starts_on", name=op.f("ck_agreements_ends_after_start")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_agreements_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_code"], ["tariffs.code"], name=op.f("fk_agreements_tariff_code_tariffs")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_agreements")),
    )
    op.create_table(
        "bill_run_accounts",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('waiting', 'drafted', 'nothing-due', 'parked', 'held', 'issued')",
            name=op.f("ck_bill_run_accounts_status"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_bill_run_accounts_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["bill_runs.id"], name=op.f("fk_bill_run_accounts_run_id_bill_runs")
        ),
        sa.PrimaryKeyConstraint("run_id", "account_id", name=op.f("pk_bill_run_accounts")),
    )
    op.create_table(
        "invoices",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tax_point", sa.Date(), nullable=True),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("purchase_order", sa.Text(), nullable=True),
        sa.Column("net", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("vat", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("total", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("pool_saving", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("seal", sa.Text(), nullable=True),
        sa.Column("previous_seal", sa.Text(), nullable=True),
        sa.Column("credits_invoice_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status IN ('issued', 'settled')) = (number IS NOT NULL)",
            name=op.f("ck_invoices_number_from_issue"),
        ),
        sa.CheckConstraint("kind IN ('invoice', 'credit-note')", name=op.f("ck_invoices_kind")),
        sa.CheckConstraint(
            "status IN ('draft', 'issued', 'settled', 'discarded')", name=op.f("ck_invoices_status")
        ),
        sa.CheckConstraint("total = net + vat", name=op.f("ck_invoices_total_is_net_and_vat")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_invoices_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["bill_runs.id"], name=op.f("fk_invoices_run_id_bill_runs")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_invoices")),
    )
    op.create_index(
        "ix_invoices_account_id_month", "invoices", ["account_id", "month"], unique=False
    )
    op.create_index("ix_invoices_number", "invoices", ["number"], unique=False)
    op.create_index("ix_invoices_run_id", "invoices", ["run_id"], unique=False)
    op.create_table(
        "manifests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("meter_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=True),
        sa.Column("first_on", sa.Date(), nullable=False),
        sa.Column("end_on", sa.Date(), nullable=False),
        sa.Column("declared_count", sa.BigInteger(), nullable=False),
        sa.Column("declared_quantity", sa.Numeric(precision=38, scale=9), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("end_on > first_on", name=op.f("ck_manifests_ends_after_start")),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["meters.id"], name=op.f("fk_manifests_meter_id_meters")
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_manifests_source_id_sources")
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["organisations.id"], name=op.f("fk_manifests_subject_id_organisations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_manifests")),
    )
    op.create_index(
        "ix_manifests_source_id_meter_id_first_on",
        "manifests",
        ["source_id", "meter_id", "first_on"],
        unique=False,
    )
    op.create_table(
        "parked_usage",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=9), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_parked_usage_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_parked_usage")),
    )
    op.create_index("ix_parked_usage_month", "parked_usage", ["month"], unique=False)
    op.create_table(
        "purchase_orders",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=True),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("value", sa.Numeric(precision=18, scale=2), nullable=True),
        sa.Column("hold_when_spent", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "ends_on IS NULL OR ends_on > starts_on",
            name=op.f("ck_purchase_orders_ends_after_start"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_purchase_orders_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_code"], ["tariffs.code"], name=op.f("fk_purchase_orders_tariff_code_tariffs")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_purchase_orders")),
    )
    op.create_table(
        "ratings",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("input_fingerprint", sa.Text(), nullable=False),
        sa.Column("rated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("readings_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_ratings_account_id_accounts")
        ),
        sa.PrimaryKeyConstraint("account_id", "month", name=op.f("pk_ratings")),
    )
    op.create_table(
        "tariff_versions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("effective_to", sa.Date(), nullable=True),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retrospective_reason", sa.Text(), nullable=True),
        postgresql.ExcludeConstraint(
            (sa.column("tariff_code"), "="),
            (sa.text("daterange(effective_from, effective_to)"), "&&"),
            where=sa.text("status = 'approved'"),
            using="gist",
            name="ex_tariff_versions_one_in_force",
        ),
        sa.CheckConstraint(
            "status <> 'approved' OR (approved_by IS NOT NULL AND approved_by <> author)",
            name=op.f("ck_tariff_versions_four_eyes"),
        ),
        sa.CheckConstraint(
            "status IN ('draft', 'submitted', 'approved', 'withdrawn')",
            name=op.f("ck_tariff_versions_status"),
        ),
        sa.CheckConstraint(
            "effective_to IS NULL OR effective_to > effective_from",
            name=op.f("ck_tariff_versions_ends_after_start"),
        ),
        sa.ForeignKeyConstraint(
            ["tariff_code"], ["tariffs.code"], name=op.f("fk_tariff_versions_tariff_code_tariffs")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tariff_versions")),
        sa.UniqueConstraint(
            "tariff_code", "version", name=op.f("uq_tariff_versions_tariff_code_version")
        ),
    )
    op.create_table(
        "user_roles",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("granted_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "role IN ('service-owner', 'finance-viewer', 'finance-editor', 'analyst', 'approver', 'auditor', 'administrator')",
            name=op.f("ck_user_roles_role"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_user_roles_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_user_roles_source_id_sources")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_roles_user_id_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_roles")),
        sa.UniqueConstraint(
            "user_id",
            "role",
            "account_id",
            "source_id",
            name=op.f("uq_user_roles_user_id_role_account_id_source_id"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(op.f("ix_user_roles_user_id"), "user_roles", ["user_id"], unique=False)
    op.create_table(
        "vat_treatments",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=True),
        sa.Column("treatment", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        postgresql.ExcludeConstraint(
            (sa.column("account_id"), "="),
            (sa.text("coalesce(tariff_code, '')"), "="),
            (sa.text("daterange(starts_on, ends_on)"), "&&"),
            using="gist",
            name="ex_vat_treatments_one_at_a_time",
        ),
        sa.CheckConstraint(
            "treatment IN ('standard', 'zero', 'exempt', 'outside-scope')",
            name=op.f("ck_vat_treatments_treatment"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_vat_treatments_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_code"], ["tariffs.code"], name=op.f("fk_vat_treatments_tariff_code_tariffs")
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_vat_treatments")),
    )
    op.create_table(
        "charges",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Text(), nullable=False),
        sa.Column("price_key", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("dimensions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("band", sa.Text(), nullable=True),
        sa.Column("first_on", sa.Date(), nullable=False),
        sa.Column("end_on", sa.Date(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=9), nullable=False),
        sa.Column("exact", sa.Numeric(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("alone_amount", sa.Numeric(precision=18, scale=2), nullable=True),
        sa.Column("working", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_charges_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_code"], ["tariffs.code"], name=op.f("fk_charges_tariff_code_tariffs")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["tariff_versions.id"],
            name=op.f("fk_charges_version_id_tariff_versions"),
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_charges")),
    )
    op.create_index("ix_charges_account_id_month", "charges", ["account_id", "month"], unique=False)
    op.create_index(
        "ix_charges_month_tariff_code", "charges", ["month", "tariff_code"], unique=False
    )
    op.create_table(
        "documents",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "invoice_id"],
            ["invoices.account_id", "invoices.id"],
            name=op.f("fk_documents_account_id_invoice_id_invoices"),
        ),
        sa.PrimaryKeyConstraint("account_id", "invoice_id", "name", name=op.f("pk_documents")),
    )
    op.create_table(
        "invoice_lines",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Text(), nullable=False),
        sa.Column("price_key", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("dimensions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=9), nullable=False),
        sa.Column("first_on", sa.Date(), nullable=False),
        sa.Column("end_on", sa.Date(), nullable=False),
        sa.Column("net", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("vat_treatment", sa.Text(), nullable=False),
        sa.Column("vat_rate_percent", sa.Numeric(precision=38, scale=9), nullable=False),
        sa.Column("pool_saving", sa.Numeric(precision=18, scale=2), nullable=True),
        sa.Column("working", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "invoice_id"],
            ["invoices.account_id", "invoices.id"],
            name=op.f("fk_invoice_lines_account_id_invoice_id_invoices"),
        ),
        sa.PrimaryKeyConstraint(
            "account_id", "invoice_id", "number", name=op.f("pk_invoice_lines")
        ),
    )
    op.create_index(
        "ix_invoice_lines_account_id_month", "invoice_lines", ["account_id", "month"], unique=False
    )
    op.create_table(
        "pool_totals",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("version_id", sa.Text(), nullable=False),
        sa.Column("price_key", sa.Text(), nullable=False),
        sa.Column("group_code", sa.Text(), server_default="", nullable=False),
        sa.Column("joint_quantity", sa.Numeric(precision=38, scale=9), nullable=False),
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


def downgrade() -> None:
    op.drop_table("pool_totals")
    op.drop_index("ix_invoice_lines_account_id_month", table_name="invoice_lines")
    op.drop_table("invoice_lines")
    op.drop_table("documents")
    op.drop_index("ix_charges_month_tariff_code", table_name="charges")
    op.drop_index("ix_charges_account_id_month", table_name="charges")
    op.drop_table("charges")
    op.drop_table("vat_treatments")
    op.drop_index(op.f("ix_user_roles_user_id"), table_name="user_roles")
    op.drop_table("user_roles")
    op.drop_table("tariff_versions")
    op.drop_table("ratings")
    op.drop_table("purchase_orders")
    op.drop_index("ix_parked_usage_month", table_name="parked_usage")
    op.drop_table("parked_usage")
    op.drop_index("ix_manifests_source_id_meter_id_first_on", table_name="manifests")
    op.drop_table("manifests")
    op.drop_index("ix_invoices_run_id", table_name="invoices")
    op.drop_index("ix_invoices_number", table_name="invoices")
    op.drop_index("ix_invoices_account_id_month", table_name="invoices")
    op.drop_table("invoices")
    op.drop_table("bill_run_accounts")
    op.drop_table("agreements")
    op.drop_table("tariffs")
    op.drop_table("successions")
    op.drop_index(op.f("ix_sessions_user_id"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_service_keys_source_id"), table_name="service_keys")
    op.drop_table("service_keys")
    op.drop_index(
        "ix_quarantined_events_source_id_status_received_at", table_name="quarantined_events"
    )
    op.drop_table("quarantined_events")
    op.drop_index("ix_meters_source_id_event_type", table_name="meters")
    op.drop_table("meters")
    op.drop_index(
        "ix_ingest_batches_unclaimed",
        table_name="ingest_batches",
        postgresql_where=sa.text("claimed_at IS NULL"),
    )
    op.drop_index("ix_ingest_batches_source_id_received_at", table_name="ingest_batches")
    op.drop_table("ingest_batches")
    op.drop_table("accounts")
    op.drop_table("users")
    op.drop_index("ix_usage_events_subject_id_meter_id_occurred_at", table_name="usage_events")
    op.drop_index("ix_usage_events_batch_id", table_name="usage_events", postgresql_using="brin")
    op.drop_table("usage_events")
    op.drop_table("sources")
    op.drop_index("ix_sign_in_attempts_email_at", table_name="sign_in_attempts")
    op.drop_table("sign_in_attempts")
    op.drop_index("ix_readings_used_on_meter_id", table_name="readings")
    op.drop_table("readings")
    op.drop_table("organisations")
    op.drop_table("number_series")
    op.drop_index("ix_job_runs_job_started_at", table_name="job_runs")
    op.drop_table("job_runs")
    op.drop_table("issued_numbers")
    op.drop_table("idempotency_keys")
    op.drop_table("event_keys")
    op.drop_table("dimension_sets")
    op.drop_table("bill_runs")
    op.drop_index("ix_audit_entries_object_kind_object_id", table_name="audit_entries")
    op.drop_table("audit_entries")
