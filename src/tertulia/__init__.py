"""Tertulia: the self-hosted server for stateful agents and their conversations."""

__version__ = "0.2.0"
