"""Data: manifests, where they come from, and how their audio reaches a model."""
