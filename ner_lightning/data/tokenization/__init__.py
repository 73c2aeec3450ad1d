"""Tokenization: from words to sub-tokens."""
