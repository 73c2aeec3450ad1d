"""Loggers: the metrics table and W&B."""
