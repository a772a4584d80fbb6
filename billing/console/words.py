"""How the console's pages word what they show."""


def plural(count: int, one: str, many: str | None = None) -> str:
    """Write a count with its noun: `1 invoice`, `1,234 invoices`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
