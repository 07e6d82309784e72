"""What the metrics that sacreBLEU computes (Post, 2018) have in common.

The meaning of their statistics is sacreBLEU's own; here they are only added up and handed back to it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stc.metrics.metric import Metric, Rows
from stc.system.text_lines import one_line

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as Scorer


class SacreBleuMetric(Metric):
    """A metric of sacreBLEU, in [0, 100] if higher is better."""

    @abstractmethod
    def scorer(self, target_lang: str | None = None) -> Scorer:
        """Return sacreBLEU's own object for a language; for none, one that is given no text."""

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str], target_lang: str
    ) -> list[list[float]]:
        texts, expected = (list(map(one_line, several)) for several in (hypotheses, references))
        rows: list[list[float]] = self.scorer(target_lang)._extract_corpus_statistics(texts, [expected])
        return rows

    def from_statistics(self, totals: Rows) -> list[float]:
        scorer = self.scorer()
        return [float(scorer._compute_score_from_stats(list(row)).score) for row in totals]

    def signature(self, target_lang: str) -> str:
        scorer = self.scorer(target_lang)
        scorer.corpus_score(["a"], [["a"]])  # a signature exists once the number of references is known
        return str(scorer.get_signature())
