"""Commands: one module each; their options, checks and recipes are in the packages below."""
