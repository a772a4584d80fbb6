"""Usage to a month's end that is not yet invoiced, for finance's books."""
