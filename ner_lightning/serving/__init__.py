"""The service: a tagger that answers over HTTP."""
