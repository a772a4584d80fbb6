"""The money: what the usage costs, who owes it, and what was paid."""
