"""Rendering: blocks of a page as Markdown, terminal text and HTML; plots."""
