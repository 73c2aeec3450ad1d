"""Commands: one module each; what some need beside, and what they share, are in the packages below."""
