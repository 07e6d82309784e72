"""The sentence patterns, by what they are about. Importing this package registers them all."""

from stc.corpus.patterns import clauses, compound, description, questions, talks

__all__ = ["clauses", "compound", "description", "questions", "talks"]
