"""Prompting: the generative baseline, which asks the backbone for entities instead of training it."""
