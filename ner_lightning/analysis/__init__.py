"""Analysis: from predictions to counts, tables and reports."""
