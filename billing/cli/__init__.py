"""The command line: `paygo`. One module for each command; `root.py` lists them."""

from billing.cli.root import main

__all__ = ["main"]
