"""The SDK for hosted services: usage recorded once, delivered once, never in the way.

Usable by itself: of the rest of paygo it imports only the calendar and the
plumbing for ids and the clock; of others' libraries only `requests`.
"""

from metering.client.meter import Meter
from metering.client.model import ManifestRefused, Options, Refused, Statistics, Trouble

__all__ = ["ManifestRefused", "Meter", "Options", "Refused", "Statistics", "Trouble"]
