"""Metrics: quality of the text, its significance, and speed, memory and size."""
