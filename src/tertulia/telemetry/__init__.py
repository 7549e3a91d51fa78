"""Adapters that are told what happens: figures for Prometheus, spans for OpenTelemetry."""
