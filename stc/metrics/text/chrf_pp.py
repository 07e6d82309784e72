"""chrF++ (Popović, 2017): chrF that also counts words and pairs of words."""

from __future__ import annotations

from stc.metrics.text.chrf import Chrf


class ChrfPlusPlus(Chrf):
    title = "chrF++"
    WORD_ORDER = 2
