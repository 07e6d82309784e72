"""fleurs: FLEURS (Conneau et al. 2022, arXiv 2205.12446): English recordings with the translations of another language.

FLEURS has the same sentences in 102 languages, one configuration each. A sentence has the same ``id`` in all of them,
and is spoken by up to three people. Not every sentence is there in every language.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from stc.data.sources import Row
from stc.data.sources.hub import Hub, under
from stc.system.language_tags import LanguageTag, primary_language

log = logging.getLogger(__name__)

ID = "id"
CONFIGURATIONS = {"zh": "cmn_hans_cn"}
"""Configurations whose name does not begin with the code of the language."""


class Fleurs(Hub):
    """FLEURS from the hub, or from a folder with a subfolder for each configuration.

    Attributes:
        lang: the language of the targets.
    """

    lang: LanguageTag

    def rows(self, split: str) -> Iterator[Row]:
        number = left_out = 0
        for name in split.split("+"):
            targets = self._targets(name)
            for record in self._records(self.config, name):
                number += 1
                place = f"{self.dataset}, {name}, row {number}"
                if (key := under(record, ID, place)) in targets:
                    yield self._row(record, number, place, targets[key])
                else:
                    left_out += 1
        if left_out:
            log.warning("%s: %d recordings have no text in %s", self.described(split), left_out, self.lang)

    def count(self, split: str) -> int:
        super().count(split)  # it refuses what is streamed
        return sum(
            under(record, ID, f"{self.dataset}, {name}") in targets
            for name in split.split("+")
            for targets in [self._targets(name)]
            for record in self._records(self.config, name, audio=False)
        )

    def _configs(self) -> list[str | None]:
        return [*super()._configs(), self._target_configuration()]

    def _target_configuration(self) -> str | None:
        code = primary_language(self.lang)
        return self.configuration(CONFIGURATIONS.get(code, f"{code}_*"))

    def _targets(self, split: str) -> dict[Any, str]:
        """Return the texts of the target language by the id of their sentence."""
        configuration = self._target_configuration()
        where = f"{self.dataset}, {configuration}, {split}"
        records = self._records(configuration, split, audio=False)
        return {under(one, ID, where): under(one, self.columns.target, where) for one in records}
