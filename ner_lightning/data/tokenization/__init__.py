"""Tokenization: words to sub-tokens, their alignment, windows."""
