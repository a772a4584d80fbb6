"""Pages for the central team: prices, trusts, services and the month end."""
