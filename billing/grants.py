"""What the role of each process may do with each table; `apply` makes it so.

The owner of the tables (whoever migrates) may do everything. `paygo web`, the metering API and
the scheduler work under roles that may do what is said here and nothing else: none makes,
changes or truncates a table, none disables a trigger, and what is append-only is only read and
added to. A table that is not said here is closed to them, and a test fails.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, text

from metering.kit.roles import INGEST, SCHEDULER, WEB, make_process_roles, usable

READ = "SELECT"
ADD = "SELECT, INSERT"
KEEP = "SELECT, INSERT, UPDATE"
ALL = "SELECT, INSERT, UPDATE, DELETE"
_LOCK = 7_201_971

# What the metering API reads to judge usage, and what it writes. No account, no price.
_INGEST = {
    "alembic_version": READ,
    "archived_months": READ,
    "cache_versions": READ,
    "dimension_sets": ADD,
    "event_keys": ADD,
    "event_withdrawals": ADD,
    "idempotency_keys": KEEP,
    "ingest_batches": ADD,
    "manifests": ADD,
    "meters": READ,
    "organisations": READ,
    "quarantined_events": ADD,
    "readings": READ,
    # To note when a key was used.
    "service_keys": KEEP,
    "sources": READ,
    "successions": READ,
    "usage_events": ADD,
}


# Read and added to, by whomever; what is said there is never changed.
_APPEND_ONLY = (
    "accruals",
    "accruals_taken",
    "allocations",
    "audit_entries",
    "bank_statements",
    "budget_warnings",
    "dispute_messages",
    "documents",
    "issued_numbers",
    "ledger_entries",
    "ledger_postings",
    "remittance_advices",
)
# Money as pages and jobs both move it: a run is drafted by either.
_MONEY = {
    **dict.fromkeys(_APPEND_ONLY, ADD),
    "announcements": KEEP,
    "bank_line_uses": KEEP,
    "bank_lines": KEEP,
    "bill_run_accounts": KEEP,
    "bill_runs": KEEP,
    "bundle_parts": ALL,
    "bundles": ALL,
    "charges": ALL,
    "deliveries": KEEP,
    "delivery_attempts": KEEP,
    "disputes": KEEP,
    "email_subscriptions": KEEP,
    "forecasts": KEEP,
    "gateway_calls": KEEP,
    "invoice_lines": ALL,
    "invoice_usage": ALL,
    "invoices": ALL,
    "month_ratings": KEEP,
    "number_series": KEEP,
    "parked_usage": ALL,
    "payments": KEEP,
    "pool_shares": ALL,
    "pool_totals": ALL,
    "prepaid_credits": KEEP,
    "ratings": KEEP,
    "receivables": KEEP,
    "refunds": KEEP,
    "reminders": KEEP,
    "simulations": KEEP,
    "stripe_invoices": KEEP,
    "webhook_endpoints": KEEP,
    "webhook_events": KEEP,
}
# What only people decide.
_DECIDED = {
    "accounts": KEEP,
    "agreements": ALL,
    "allocation_rules": KEEP,
    "budgets": KEEP,
    "ledger_codes": KEEP,
    "local_agreements": KEEP,
    "meters": KEEP,
    "organisations": KEEP,
    "purchase_orders": KEEP,
    "reminder_schedules": KEEP,
    "service_keys": KEEP,
    "sources": KEEP,
    "successions": KEEP,
    "tariff_versions": KEEP,
    "tariffs": KEEP,
    "user_roles": ALL,
    "users": KEEP,
    "vat_treatments": KEEP,
}
# Usage as it arrived: the pages and the jobs only read it.
_USAGE = {
    "archived_levels": READ,
    "archived_months": READ,
    "dimension_sets": READ,
    "event_keys": READ,
    "event_withdrawals": READ,
    "usage_events": READ,
}
GRANTS: Mapping[str, Mapping[str, str]] = {
    INGEST: _INGEST,
    WEB: {
        **_MONEY,
        **_DECIDED,
        **_USAGE,
        "alembic_version": READ,
        "cache_versions": KEEP,
        "idempotency_keys": ALL,
        "ingest_batches": READ,
        "job_runs": READ,
        "manifests": ADD,
        "quarantined_events": KEEP,
        "readings": READ,
        "sessions": ALL,
        "sign_in_attempts": ALL,
    },
    SCHEDULER: {
        **_MONEY,
        **dict.fromkeys(_DECIDED, READ),
        **_USAGE,
        "alembic_version": READ,
        "cache_versions": READ,
        "deliveries": ALL,
        "delivery_attempts": ALL,
        "idempotency_keys": "SELECT, DELETE",
        "ingest_batches": KEEP,
        "job_runs": ALL,
        "manifests": READ,
        "quarantined_events": READ,
        "readings": ALL,
        "sessions": "SELECT, DELETE",
        "sign_in_attempts": "SELECT, DELETE",
        # How far a tariff is invoiced is noted as invoices are issued.
        "tariffs": "SELECT, UPDATE",
    },
}
"""What each role may do, by table."""

# Numbers that the database makes for rows of these tables.
_SEQUENCES = text(
    "SELECT quote_ident(made.relname) FROM pg_class AS made"
    " JOIN pg_depend ON pg_depend.objid = made.oid AND pg_depend.deptype IN ('a', 'i')"
    " JOIN pg_class AS of_table ON of_table.oid = pg_depend.refobjid"
    " WHERE made.relkind = 'S' AND of_table.relname = ANY (:tables)"
)


def apply(connection: Connection) -> list[str]:
    """Give each process's role what it may do, and take from it what it may not; safe to repeat.

    Returns:
        The roles that can be used here; the others are made by an administrator, see
        `metering.kit.roles.process_role_statements`.
    """
    # Two that migrate at once would both write the same rows of the catalogue.
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    roles = make_process_roles(connection)
    for role in roles:
        for statement in _statements(role):
            connection.execute(text(statement))
        adds = [table for table, said in GRANTS[role].items() if "INSERT" in said]
        for sequence in connection.scalars(_SEQUENCES, {"tables": adds}).all():
            connection.execute(text(f"GRANT USAGE ON SEQUENCE {sequence} TO {role}"))
    return list(roles)


def ready(connection: Connection, role: str) -> bool:
    """Return whether whoever signed in may take on a process's role, and it has its rights."""
    granted = text("SELECT has_table_privilege(:role, 'usage_events', 'SELECT')")
    return usable(connection, role) and bool(connection.scalar(granted, {"role": role}))


def _statements(role: str) -> list[str]:
    """Return what gives a role exactly what is said above."""
    return [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
        f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role}",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"GRANT EXECUTE ON FUNCTION paygo_make_partition(date) TO {role}",
        *(
            [f"GRANT EXECUTE ON FUNCTION paygo_summarise(date[]) TO {role}"]
            if role == SCHEDULER
            else []
        ),
        *(
            f"GRANT {privileges} ON {table} TO {role}"
            for table, privileges in sorted(GRANTS[role].items())
        ),
    ]
