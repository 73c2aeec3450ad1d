"""Export: folders that others can load, and their model cards."""
