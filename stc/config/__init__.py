"""The schema of conf/, the checks of the command line, and the plan made of a composed config."""
