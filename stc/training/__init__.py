"""The one training loop, what it is told (recipe, order of the data) and what it minimises."""
