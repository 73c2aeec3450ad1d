"""Pretraining: the backbone learns to fill in masked words."""
