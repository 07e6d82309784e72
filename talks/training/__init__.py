"""Training a small base model from random weights."""
