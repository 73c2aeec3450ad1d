"""System: atomic files, terminal text, progress, ranges of numbers, access to the Hub and its errors."""
