"""System: files replaced whole, the terminal, progress, the disk and the Hub, and what their errors mean."""
