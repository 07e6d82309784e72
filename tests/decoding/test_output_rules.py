"""Rules that remove something from texts are off unless asked for, and are part of what they decide."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stc.decoding.options import Decoding, OutputRules

TEXT = "Here is the translation: „Guten Tag. Guten Tag. Guten Tag. Guten“"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (OutputRules(), TEXT),
        (OutputRules(strip=["preamble"]), "„Guten Tag. Guten Tag. Guten Tag. Guten“"),
        (OutputRules(strip=["quotes"]), TEXT),
        (OutputRules(strip=["preamble", "quotes"]), "Guten Tag. Guten Tag. Guten Tag. Guten"),
        (OutputRules(strip=["quotes", "preamble"], stop_repetition=3), "Guten Tag."),
        (OutputRules(stop_repetition=4), TEXT),
    ],
)
def test_only_what_is_asked_for_is_removed(rules: OutputRules, expected: str) -> None:
    assert rules.apply(TEXT) == expected


def test_rules_are_in_an_identity_only_if_there_are_any() -> None:
    assert OutputRules().model_dump() == {}
    assert Decoding(strip=[], stop_repetition=None).model_dump() == Decoding().model_dump()
    one, other = (OutputRules(strip=names).model_dump() for names in (["quotes", "preamble"], ["preamble", "quotes"]))
    assert one == other != {}


@pytest.mark.parametrize("values", [{"strip": ["prefix"]}, {"strip": ["quotes"] * 2}, {"stop_repetition": 1}])
def test_rules_that_make_no_sense_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OutputRules.model_validate(values)
