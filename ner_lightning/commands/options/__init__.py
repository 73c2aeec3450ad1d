"""Options and config files: names, values and consent, checked before anything heavy is imported."""
