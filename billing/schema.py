"""Every table of paygo, gathered for migrations and for the tests that compare them.

Importing this module fills `metering.kit.columns.Base.metadata`.
"""

from billing.access import tables as access
from billing.accounts import tables as accounts
from billing.accruals import tables as accruals
from billing.budgets import tables as budgets
from billing.bundles import tables as bundles
from billing.charges import tables as charges
from billing.disputes import tables as disputes
from billing.forecasts import tables as forecasts
from billing.invoices import tables as invoices
from billing.ledger import tables as ledger
from billing.notifications import tables as notifications
from billing.payments import tables as payments
from billing.payments.bank import tables as bank
from billing.runs import tables as runs
from billing.simulations import tables as simulations
from billing.tariffs import tables as tariffs
from metering.events import tables as events
from metering.kit import tables as kit
from metering.kit.columns import Base
from metering.meters import tables as meters
from metering.organisations import tables as organisations
from metering.readings import tables as readings
from metering.reports import tables as reports
from metering.sources import tables as sources

TABLE_MODULES = (
    kit,
    organisations,
    sources,
    meters,
    events,
    readings,
    reports,
    accounts,
    tariffs,
    charges,
    simulations,
    forecasts,
    budgets,
    runs,
    invoices,
    disputes,
    bundles,
    accruals,
    ledger,
    payments,
    bank,
    access,
    notifications,
)

metadata = Base.metadata
