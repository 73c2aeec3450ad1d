"""What `ladder` needs: which cells are done, the training of those that are not, and rows of results."""
