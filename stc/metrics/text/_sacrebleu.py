"""The base class of the metrics that sacreBLEU computes (Post, 2018).

sacreBLEU alone knows what its statistics mean; stc only adds them up and hands them back.
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
    """A metric of sacreBLEU. Its scores are in [0, 100]."""

    @abstractmethod
    def scorer(self, target_lang: str | None = None) -> Scorer:
        """Return sacreBLEU's metric for a language; without a language, one that scores statistics and no text."""

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str], target_lang: str
    ) -> list[list[float]]:
        texts, expected = (list(map(one_line, lines)) for lines in (hypotheses, references))
        rows: list[list[float]] = self.scorer(target_lang)._extract_corpus_statistics(texts, [expected])
        return rows

    def from_statistics(self, totals: Rows) -> list[float]:
        scorer = self.scorer()
        return [float(scorer._compute_score_from_stats(list(row)).score) for row in totals]

    def signature(self, target_lang: str) -> str:
        scorer = self.scorer(target_lang)
        scorer.corpus_score(["a"], [["a"]])  # sacreBLEU has no signature before it knows the number of references
        return str(scorer.get_signature())
