"""Queries that trusts raise about invoices, and how the central team settles them."""
