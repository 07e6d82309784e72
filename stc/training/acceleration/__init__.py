"""Faster training, or training in less memory, with the same result."""
