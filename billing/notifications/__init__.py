"""What happened, told by email and webhook: at least once, after commit, never in the way."""
