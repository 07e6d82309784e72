"""Plans: say what a run, or every job of a sweep, will do before it does anything (``plan=true``).

Nothing is run and no model is loaded. Imports neither torch nor transformers.
"""
