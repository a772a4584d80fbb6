"""The usage: what was used, by whom, when.

Metering knows no price, no account and no invoice; `billing` builds on it and
is never imported here.
"""
