"""Ways to choose the layers that are removed, and the search that tries each one's removal."""
