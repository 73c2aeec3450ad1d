"""Metrics: entity-level scores."""
