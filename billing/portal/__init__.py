"""Pages for trust finance: what was used, what it costs, what is owed."""
