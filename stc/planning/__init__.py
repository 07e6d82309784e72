"""What a run, or every job of a sweep, is going to do, told before it does anything: ``plan=true``.

Nothing is run and no model loaded. Imports neither torch nor transformers.
"""
