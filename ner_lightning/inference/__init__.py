"""Inference: a trained tagger at work."""
