"""The console: the central team's pages, registered with their links in the header."""

from flask import Flask

from billing.console import (
    account_forms,
    account_views,
    audit_views,
    balance_views,
    bundle_views,
    check_views,
    code_views,
    context,
    credit_views,
    dispute_views,
    job_views,
    key_forms,
    local_forms,
    local_views,
    meter_forms,
    money_views_account,
    money_views_bank,
    money_views_debt,
    money_views_import,
    money_views_ledger,
    money_views_payments,
    money_views_prepaid,
    money_views_refunds,
    money_views_reminders,
    money_views_stripe,
    month_end_views,
    organisation_views,
    overview_views,
    price_forms,
    quarantine_views,
    service_forms,
    service_views,
    simulation_views,
    tariff_forms,
    tariff_views,
)
from billing.console.blueprint import blueprint
from billing.web import add_navigation

# In the order in which their links stand in the header.
_SECTIONS = (
    ("Overview", "console.home"),
    ("Month end", "console.month_ends"),
    ("Accounts", "console.accounts"),
    ("Queries", "console.disputes"),
    ("Money", "console.money"),
    ("Tariffs", "console.tariffs"),
    ("Services", "console.services"),
    ("Quarantine", "console.quarantine"),
    ("Reconciliation", "console.reconciliation"),
    ("Jobs", "console.jobs"),
    ("Audit trail", "console.audit_trail"),
)


def register(app: Flask) -> None:
    """Add the console to `app`."""
    app.register_blueprint(blueprint)
    for label, endpoint in _SECTIONS:
        add_navigation(app, area="console", label=label, endpoint=endpoint)


__all__ = [
    "account_forms",
    "account_views",
    "audit_views",
    "balance_views",
    "blueprint",
    "bundle_views",
    "check_views",
    "code_views",
    "context",
    "credit_views",
    "dispute_views",
    "job_views",
    "key_forms",
    "local_forms",
    "local_views",
    "meter_forms",
    "money_views_account",
    "money_views_bank",
    "money_views_debt",
    "money_views_import",
    "money_views_ledger",
    "money_views_payments",
    "money_views_prepaid",
    "money_views_refunds",
    "money_views_reminders",
    "money_views_stripe",
    "month_end_views",
    "organisation_views",
    "overview_views",
    "price_forms",
    "quarantine_views",
    "register",
    "service_forms",
    "service_views",
    "simulation_views",
    "tariff_forms",
    "tariff_views",
]
