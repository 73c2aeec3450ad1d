"""Callbacks: what happens around training: files, checkpoints, stops, tables."""
