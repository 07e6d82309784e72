"""The embedded corpus: a grammar of aligned English, German and Chinese sentences, and the speech for them.

A real task small enough for a laptop. Nothing here is needed to run stc on other data.
"""
