"""Scores of model folders on one data set, side by side: utterances or whole talks, with references or without.

``options`` has the command line, ``data`` what is translated, and ``__main__`` the rest.
"""
