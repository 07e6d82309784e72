"""The settings: the schema of conf/, and the command line, checked before Hydra sees it."""
