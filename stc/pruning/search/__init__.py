"""The inner loop of a greedy search: a score without each of many layers in turn."""
