"""Commands: one module each, and what they share: options, recipes, checks, where a run starts."""
