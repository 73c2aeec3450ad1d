"""LightningCLI for fit, validate and test: recipes, the run folder, checks, and processes of trainings."""
