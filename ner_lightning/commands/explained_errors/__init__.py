"""Errors of disk and memory, explained to users with the option or command that helps."""
