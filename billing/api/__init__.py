"""The JSON API of billing: what programs ask about prices."""
