"""Serving: a trained tagger answers over HTTP."""
