"""Engines: what computes emissions other than PyTorch."""
