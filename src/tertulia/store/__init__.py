"""Stores: adapters of the store port. What they share is in ``sql``; only this package knows SQL."""
