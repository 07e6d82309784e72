"""The machine, processes, files, and text for a terminal. Nothing here knows models or stages."""
