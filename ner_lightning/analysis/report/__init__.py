"""The report's sections, and their order."""
