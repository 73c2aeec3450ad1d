"""Trained taggers: what of a command line names them, and how several become one."""
