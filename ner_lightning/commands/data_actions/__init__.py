"""What `data` does and writes: its actions and their options, the audit, and the files of each."""
