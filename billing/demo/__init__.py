"""The demonstration: real trusts, six hosted services and a month of usage, end to end."""
