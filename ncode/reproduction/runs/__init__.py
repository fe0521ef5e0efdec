"""Runs: their identity, records, recordings and provenance."""
