"""`python -m billing.cli` is `paygo`."""

from billing.cli.root import main

main()
