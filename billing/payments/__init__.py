"""Money in: Stripe, bank statements matched to invoices, statements of account, reminders."""
