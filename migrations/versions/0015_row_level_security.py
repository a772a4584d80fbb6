"""The database repeats the tenant rule: a trust's pages read as a role that sees its rows alone.

`paygo_share` is what a later migration calls for a new table:
    SELECT paygo_share('budgets', 'SELECT, INSERT')
Without a condition the rule is on `account_id`. A table that nobody shares is closed to the role.
"""

from alembic import op

from metering.kit.roles import make_roles

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# `current_setting(…, true)` is null where nothing is set, so that nothing is seen. The array is
# worked out once a statement, and its membership is a condition that an index answers.
MINE = "{} = ANY (string_to_array(current_setting('paygo.accounts', true), ','))"
MY_USAGE = (
    "subject_id = ANY (string_to_array(current_setting('paygo.subjects', true), ',')::integer[])"
)

READ = (
    "accruals",
    "agreements",
    "allocations",
    "budget_warnings",
    "charges",
    "documents",
    "forecasts",
    "invoice_lines",
    "invoices",
    "issued_numbers",
    "ledger_postings",
    "parked_usage",
    "payments",
    "pool_shares",
    "prepaid_credits",
    "ratings",
    "receivables",
    "refunds",
    "reminder_schedules",
    "reminders",
    "stripe_invoices",
    "vat_treatments",
)
KEPT = {
    "allocation_rules": "SELECT, INSERT, UPDATE",
    "budgets": "SELECT, INSERT, UPDATE",
    "cost_centres": "SELECT, INSERT, UPDATE, DELETE",
    "dispute_messages": "SELECT, INSERT",
    "disputes": "SELECT, INSERT, UPDATE",
    "email_subscriptions": "SELECT, INSERT, UPDATE",
    "purchase_orders": "SELECT, INSERT, UPDATE",
    # Its own secrets, which are sealed with a key that is not in the database.
    "webhook_endpoints": "SELECT, INSERT, UPDATE",
    # Written beside a change; read by nobody's page.
    "announcements": "INSERT",
    # The rule stands, but the role has no business there.
    "bank_line_uses": "",
    "bill_run_accounts": "",
    "gateway_calls": "",
    "user_roles": "",
}
# The same for everybody: what can be bought, from whom, and the words for it.
CATALOGUES = (
    "accruals_taken",
    "cache_versions",
    "dimension_sets",
    "meters",
    "month_ratings",
    "organisations",
    "sources",
    "successions",
    "tariffs",
)
GROUPS = "group_code IN (SELECT group_code FROM agreements)"
OTHERS = {
    "accounts": MINE.format("id"),
    "readings": MY_USAGE,
    "usage_events": MY_USAGE,
    "ledger_entries": "EXISTS (SELECT 1 FROM ledger_postings AS mine"
    " WHERE mine.entry_id = ledger_entries.id)",
    "local_agreements": f"({MINE.format('account_id')} OR {GROUPS}) AND status = 'approved'",
    # The national pool is published; a group's belongs to its members.
    "pool_totals": f"scope = 'pool' OR {GROUPS}",
    "tariff_versions": "status = 'approved'",
}


def upgrade() -> None:
    make_roles(op.get_bind())
    default = MINE.format("account_id").replace("'", "''")
    op.execute(
        f"""
        CREATE FUNCTION paygo_share(
            shared regclass, privileges text, condition text DEFAULT '{default}'
        ) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', shared);
            EXECUTE format('CREATE POLICY portal ON %s TO paygo_portal USING (%s)',
                           shared, condition);
            IF privileges <> '' THEN
                EXECUTE format('GRANT %s ON %s TO paygo_portal', privileges, shared);
            END IF;
        END $$
        """
    )
    for table in READ:
        op.execute(f"SELECT paygo_share('{table}', 'SELECT')")
    for table, privileges in KEPT.items():
        op.execute(f"SELECT paygo_share('{table}', '{privileges}')")
    for table, condition in OTHERS.items():
        quoted = condition.replace("'", "''")
        op.execute(f"SELECT paygo_share('{table}', 'SELECT', '{quoted}')")
    # To lock an invoice while it is queried, a role must be able to update some column of it.
    # This one no trigger lets anybody change once it is issued.
    op.execute("GRANT UPDATE (id) ON invoices TO paygo_portal")
    for table in CATALOGUES:
        op.execute(f"GRANT SELECT ON {table} TO paygo_portal")
    # It has no subject: found only by the key of an event that the role can see.
    op.execute("GRANT SELECT ON event_withdrawals TO paygo_portal")
    # An entry of the audit trail needs the seal of the one before, and nothing else of it.
    op.execute("GRANT INSERT, SELECT (position, seal) ON audit_entries TO paygo_portal")


def downgrade() -> None:
    # The role stays: other databases of the server may use them.
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM paygo_portal")
    for table in (*READ, *KEPT, *OTHERS):
        op.execute(f"DROP POLICY portal ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.execute("DROP FUNCTION paygo_share(regclass, text, text)")
