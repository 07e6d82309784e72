"""Metrics: quality of translations and its significance, and speed, memory and size of models."""
