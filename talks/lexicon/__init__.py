"""The words of the corpus, each with what the three languages need to inflect and place it.

To add a word, add a row. A row's tags say where the patterns may use it; a verb's ``takes`` names the tags of the
nouns that make sense as its object. No two rows of one table share their English form, so that an English
sentence has one translation.
"""

from talks.lexicon.adjectives import ADJECTIVES, MOODS
from talks.lexicon.adverbials import FREQUENCIES, PLACES, TIMES
from talks.lexicon.names import CITIES, MONTHS, NAMES, SURNAMES, WEEKDAYS
from talks.lexicon.nouns import NOUNS
from talks.lexicon.verbs import VERBS
from talks.lexicon.words import Adjective, Adverbial, Name, Noun, Verb

__all__ = [
    "ADJECTIVES", "CITIES", "FREQUENCIES", "MONTHS", "MOODS", "NAMES", "NOUNS", "PLACES", "SURNAMES", "TIMES", "VERBS",
    "WEEKDAYS", "Adjective", "Adverbial", "Name", "Noun", "Verb",
]  # fmt: skip
