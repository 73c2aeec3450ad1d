"""Metrics: entity counts, precision, recall and F1."""
