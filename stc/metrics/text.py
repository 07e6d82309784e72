"""Corpus-level BLEU, chrF and chrF++, all of them computed by sacreBLEU (Post, 2018).

A corpus score is a function of sums over sentences. Those sentence-level counts ("sufficient statistics") are
kept with a score, so that a bootstrap over sentences never has to read the text again. Their meaning is
sacreBLEU's own; here they are only added up and handed back to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from stc.errors import InputError, nearest
from stc.system.language_tags import HAN_SCRIPTS, WITHOUT_SPACES, script
from stc.system.text_lines import one_line

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacreMetric

MetricName = Literal["bleu", "chrf", "chrf_pp"]
METRICS: dict[str, str] = {"bleu": "BLEU", "chrf": "chrF", "chrf_pp": "chrF++"}  # name in a config → in print


_PLAIN = "13a"
_TOKENIZERS = {  # by script: sacreBLEU knows three languages, and those by one spelling each
    **dict.fromkeys(WITHOUT_SPACES, "char"),
    **dict.fromkeys(HAN_SCRIPTS, "zh"),
    **dict.fromkeys(("Jpan", "Hira", "Kana"), "ja-mecab"),
    **dict.fromkeys(("Kore", "Hang"), "ko-mecab"),
}
_EXTRAS = {"ja-mecab": "sacrebleu[ja]", "ko-mecab": "sacrebleu[ko]"}  # tokenizer → what has to be installed for it


def _tokenizer(target_lang: str) -> str:
    return _TOKENIZERS.get(script(target_lang), _PLAIN)


def _metric(name: str, tokenizer: str) -> SacreMetric:
    """Return sacreBLEU's metric of that name, BLEU with that tokenizer."""
    from sacrebleu.metrics import BLEU, CHRF

    if name == "bleu":
        try:
            return BLEU(tokenize=tokenizer)
        except RuntimeError:
            package = _EXTRAS[tokenizer]
            raise InputError(
                f"metric bleu needs the package {package} for this language: pip install '{package}'"
            ) from None
    if name == "chrf":
        return CHRF()
    if name == "chrf_pp":
        return CHRF(word_order=2)
    raise InputError(f"metric {name!r} is unknown: one of {', '.join(METRICS)}{nearest(name, METRICS)}")


def refuse_unready(metric: str, target_lang: str) -> None:
    """Refuse a metric that needs a package which is not installed.

    Raises:
        InputError: naming the package.
    """
    if metric == "bleu" and (tokenizer := _tokenizer(target_lang)) in _EXTRAS:
        _metric(metric, tokenizer)


def statistics(metric: str, hypotheses: Sequence[str], references: Sequence[str], target_lang: str) -> list[list[int]]:
    """The counts a corpus score is made of, one row a sentence: (sentences, counts), 10 for BLEU, 18 or 24 for
    chrF and chrF++.

    Raises:
        InputError: for an unknown metric, one that needs a package, an empty corpus, or unequal numbers of hypotheses
            and references.
    """
    scorer = _metric(metric, _tokenizer(target_lang))
    if len(hypotheses) != len(references):
        raise InputError(f"{metric}: {len(hypotheses)} hypotheses for {len(references)} references")
    if not references:
        raise InputError(f"{metric}: there are no sentences to score")
    texts, expected = (list(map(one_line, several)) for several in (hypotheses, references))
    return [[int(count) for count in row] for row in scorer._extract_corpus_statistics(texts, [expected])]


def from_statistics(metric: str, totals: Any) -> list[float]:
    """Scores in [0, 100] from counts already added up over sentences: (corpora, counts) → (corpora,)."""
    scorer = _metric(metric, _PLAIN)  # the text has been tokenized already
    return [float(scorer._compute_score_from_stats(row).score) for row in totals]


def score(metric: str, hypotheses: Sequence[str], references: Sequence[str], target_lang: str) -> float:
    """The corpus score in [0, 100], one reference a sentence.

    Raises:
        InputError: as :func:`statistics`.
    """
    rows = statistics(metric, hypotheses, references, target_lang)
    return from_statistics(metric, [[sum(column) for column in zip(*rows, strict=True)]])[0]


def signature(metric: str, target_lang: str) -> str:
    """sacreBLEU's signature: everything needed to compute the same score again."""
    scorer = _metric(metric, _tokenizer(target_lang))
    scorer.corpus_score(["a"], [["a"]])  # a signature exists once the number of references is known
    return str(scorer.get_signature())
