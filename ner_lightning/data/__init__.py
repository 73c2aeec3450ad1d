"""Data: from files and data sets to batches of encoded sentences."""
