"""The stages: one file each, thin, importable without torch."""
