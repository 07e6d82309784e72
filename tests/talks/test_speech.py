"""Held-out engines and voices stay in the test part, and weights are respected."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from stc.errors import InputError
from talks.grammar import PARTS
from talks.speech import CASTS, ENGINES, EngineName, Voice, check_engines, draw_voice, voices

TRAINING = [part for part in PARTS if part != "test"]
SEEN: dict[EngineName, float] = {"espeak": 0.6, "hibari": 0.2, "flite": 0.2}
HELD_OUT: dict[EngineName, float] = {"espeak": 0.4, "flite": 0.25, "piper": 0.35}


def drawn(part: str, engines: dict[EngineName, float], count: int = 4000) -> list[Voice]:
    rng = random.Random(3)
    return [draw_voice(rng, part, engines) for _ in range(count)]


def plain(voice: Voice) -> str:
    """Without espeak's accent, which all parts share."""
    return f"{voice.engine}:{voice.name.split('+')[-1]}"


def test_no_test_voice_is_heard_in_another_part() -> None:
    test = {plain(voice) for voice in drawn("test", HELD_OUT)}
    for part in TRAINING:
        assert not test & {plain(voice) for voice in drawn(part, SEEN)}


def test_every_voice_is_either_seen_or_held_out_and_speaks() -> None:
    assert set(CASTS) == set(ENGINES)
    for name, cast in CASTS.items():
        assert not set(cast.seen) & set(cast.held_out)
        for part, expected in (("base", cast.seen), ("test", cast.held_out)):
            if expected:
                spoken = {plain(voice) for voice in drawn(part, {name: 1})}
                assert spoken == {f"{name}:{voice}" for voice in expected}


def test_no_held_out_espeak_voice_has_a_sibling_in_training() -> None:
    def family(name: str) -> str:
        return name.rstrip("0123456789") if len(name) > 2 else name  # f1 and f2 are two people

    cast = CASTS["espeak"]
    assert not {family(name) for name in cast.seen} & {family(name) for name in cast.held_out}


@pytest.mark.parametrize("part", TRAINING)
def test_a_held_out_engine_is_refused_outside_test(part: str) -> None:
    with pytest.raises(
        InputError, match=rf"'piper' is held out for part test; part {part} can be spoken by espeak, flite, hibari"
    ):
        check_engines({"espeak": 1, "piper": 0.1}, part)


def test_an_engine_without_a_held_out_voice_is_refused_in_test() -> None:
    with pytest.raises(InputError, match=r"'hibari' has no voice held out.* spoken by espeak, flite, piper"):
        voices("hibari", "test")


def test_a_weight_of_nothing_leaves_an_engine_out_and_something_has_to_be_left() -> None:
    check_engines({"espeak": 1, "piper": 0}, "base")
    assert {voice.engine for voice in drawn("base", {"espeak": 1, "hibari": 0}, 200)} == {"espeak"}
    with pytest.raises(InputError, match="no weight is above 0"):
        check_engines({"espeak": 0}, "base")


def test_engines_speak_by_weight() -> None:
    for part, engines in (("base", SEEN), ("test", HELD_OUT)):
        share = Counter(voice.engine for voice in drawn(part, engines))
        for name, weight in engines.items():
            assert share[name] / 4000 == pytest.approx(weight, abs=0.03)


def test_weights_count_against_each_other_in_any_order() -> None:
    assert drawn("base", {"flite": 2, "espeak": 6, "hibari": 2}, 100) == drawn(
        "base", {"espeak": 3, "hibari": 1, "flite": 1}, 100
    )


def test_speed_and_pitch_vary_for_every_engine() -> None:
    for part, engines in (("base", SEEN), ("test", HELD_OUT)):
        for name in engines:
            mine = drawn(part, {name: 1}, 400)
            for low, high, values in (
                (0.85, 1.2, [voice.speed for voice in mine]),
                (0.85, 1.15, [voice.pitch for voice in mine]),
            ):
                assert low <= min(values) < low + 0.02
                assert high - 0.02 < max(values) <= high
