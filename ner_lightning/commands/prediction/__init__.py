"""What `predict` needs: checks of its options, its outputs, and the tagging in one process or several."""
