"""The inner loop of a greedy search: the score of a model without each of many layers in turn."""
