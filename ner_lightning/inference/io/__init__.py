"""Input and output of prediction: files read and written."""
