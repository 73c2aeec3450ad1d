"""Turns an open LLM into a named-entity tagger, as a Lightning experiment described by one YAML."""
