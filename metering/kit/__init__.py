"""Plumbing without a domain word, shared by metering and billing."""
