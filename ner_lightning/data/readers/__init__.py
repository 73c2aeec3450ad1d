"""Readers: one module for each format of annotated text."""
