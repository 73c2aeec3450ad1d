"""Training: the Lightning side of things."""
