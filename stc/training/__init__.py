"""Training: the loop, its settings, its data and its losses."""
