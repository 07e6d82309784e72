"""chrF (Popović, 2015): the F-score of character n-grams."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from stc.metrics.text._sacrebleu import SacreBleuMetric

if TYPE_CHECKING:
    from sacrebleu.metrics import CHRF


class Chrf(SacreBleuMetric):
    """chrF, which is computed alike for every language."""

    title = "chrF"
    WORD_ORDER: ClassVar[int] = 0

    def scorer(self, target_lang: str | None = None) -> CHRF:
        from sacrebleu.metrics import CHRF

        return CHRF(word_order=self.WORD_ORDER)
