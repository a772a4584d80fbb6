"""Priced promises: tariff files, versions, local agreements."""
