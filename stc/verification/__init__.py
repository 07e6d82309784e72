"""A saved folder tried by a fresh process with plain transformers."""
