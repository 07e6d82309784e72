"""BLEU (Papineni et al., 2002), with the tokenizer that the script of the target language needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stc.errors import InputError
from stc.metrics.text._sacrebleu import SacreBleuMetric
from stc.system.language_tags import HAN_SCRIPTS, WITHOUT_SPACES, script

if TYPE_CHECKING:
    from sacrebleu.metrics import BLEU

_DEFAULT_TOKENIZER = "13a"
_TOKENIZERS = {  # by script, as sacreBLEU itself recognizes one spelling each of three languages
    **dict.fromkeys(WITHOUT_SPACES, "char"),
    **dict.fromkeys(HAN_SCRIPTS, "zh"),
    **dict.fromkeys(("Jpan", "Hira", "Kana"), "ja-mecab"),
    **dict.fromkeys(("Kore", "Hang"), "ko-mecab"),
}
_PACKAGES = {"ja-mecab": "sacrebleu[ja]", "ko-mecab": "sacrebleu[ko]"}


class Bleu(SacreBleuMetric):
    title = "BLEU"

    def scorer(self, target_lang: str | None = None) -> BLEU:
        from sacrebleu.metrics import BLEU

        tokenizer = _tokenizer(target_lang) if target_lang else _DEFAULT_TOKENIZER
        try:
            return BLEU(tokenize=tokenizer)
        except RuntimeError:
            package = _PACKAGES[tokenizer]
            raise InputError(
                f"metric bleu needs the package {package} for this language: pip install '{package}'"
            ) from None

    def check_ready(self, target_lang: str) -> None:
        if _tokenizer(target_lang) in _PACKAGES:
            self.scorer(target_lang)


def _tokenizer(target_lang: str) -> str:
    return _TOKENIZERS.get(script(target_lang), _DEFAULT_TOKENIZER)
