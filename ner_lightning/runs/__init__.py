"""Runs: the run folder, its checkpoints, provenance, rows of results, ladders of recipes."""
