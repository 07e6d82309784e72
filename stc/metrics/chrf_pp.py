"""chrF++ (Popović, 2017): chrF with words and pairs of words beside the characters."""

from __future__ import annotations

from stc.metrics.chrf import Chrf


class ChrfPlusPlus(Chrf):
    """chrF++ in [0, 100]."""

    title = "chrF++"
    WORD_ORDER = 2


METRIC = ChrfPlusPlus()
