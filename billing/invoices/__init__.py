"""Invoices: lines, numbers, seals, credit notes and disputes; immutable once issued."""
