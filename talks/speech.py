"""Who speaks which part of the corpus, and how fast and high. The engines themselves are in ``talks.engines``."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from stc.errors import InputError

EngineName = Literal["espeak", "flite", "hibari", "piper"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
SAMPLE_RATE = 16_000

_ACCENTS = ("en-US", "en", "en-GB-x-rp", "en-GB-scotland", "en-GB-x-gbclan", "en-GB-x-gbcwmd", "en-029", "en-US-nyc")

# Variants of the espeak-ng data folder that sound like people. Whispering and robot voices are left out, as are those
# (caleb, Reed) whose samples differ from call to call.
_ESPEAK_SEEN = (
    "Alex Andrea Annie Denis Diogo Gene Gene2 Hugo Jacky Lee Marco Mario Mike Nguyen Storm adam anika antonio aunty "
    "benjamin boris david ed edward edward2 f1 f2 f4 f5 grandpa gustave ian john kaukovalta linda m1 m2 m3 m5 m6 m8 "
    "marcelo michel miguel mike2 norbert pablo paul pedro rob robert shelby travis victor zac"
)
# Whole families (steph, steph2, …), so that no test voice has a sibling in training.
_ESPEAK_HELD_OUT = (
    "Alicia Andy Henrique Michael announcer belinda f3 grandma iven iven2 iven3 iven4 m4 m7 max quincy sandro "
    "steph steph2 steph3"
)


@dataclass(frozen=True)
class Cast:
    """The voices of one engine: those of the parts something is trained or chosen on, and those kept for ``test``."""

    seen: tuple[str, ...]
    held_out: tuple[str, ...]


# The one place that says what is held out. An engine without seen voices is held out as a whole.
CASTS: dict[EngineName, Cast] = {
    "espeak": Cast(seen=tuple(_ESPEAK_SEEN.split()), held_out=tuple(_ESPEAK_HELD_OUT.split())),
    # slt is the only woman of flite's voices.
    "flite": Cast(seen=("awb", "kal", "kal16", "rms"), held_out=("slt",)),
    "hibari": Cast(seen=("heart",), held_out=()),
    "piper": Cast(seen=(), held_out=("joe",)),
}


@dataclass(frozen=True)
class Voice:
    """Who speaks and how.

    Attributes:
        name: accent and variant for espeak (``en-US+f2``), elsewhere the name the engine knows it by.
        speed: 1 is the engine's normal pace.
        pitch: 1 is the voice's normal pitch.
    """

    engine: EngineName
    name: str
    speed: float
    pitch: float

    def __str__(self) -> str:
        return f"{self.engine}:{self.name}"


def voices(engine: EngineName, part: str) -> tuple[str, ...]:
    """The engine's voices in a part: those of ``test`` are heard nowhere else.

    Raises:
        InputError: it has none there.
    """
    found = CASTS[engine].held_out if part == "test" else CASTS[engine].seen
    if not found:
        allowed = [name for name in ENGINES if (CASTS[name].held_out if part == "test" else CASTS[name].seen)]
        why = "has no voice held out for part test" if part == "test" else "is held out for part test"
        raise InputError(f"engine {engine!r} {why}; part {part} can be spoken by {', '.join(allowed)}")
    return found


def check_engines(engines: Mapping[EngineName, float], part: str) -> None:
    """
    Raises:
        InputError: an engine does not speak the part, or no weight is above 0.
    """
    wanted = [name for name in sorted(engines) if engines[name] > 0]
    if not wanted:
        raise InputError(f"engines for part {part}: no weight is above 0 in {dict(engines)}")
    for name in wanted:
        voices(name, part)


def draw_voice(rng: random.Random, part: str, engines: Mapping[EngineName, float]) -> Voice:
    """A voice of an engine drawn by weight; the weights need not add up to 1, and their order does not matter."""
    engine = _weighted(rng, engines)
    speed, pitch = round(rng.uniform(0.85, 1.2), 3), round(rng.uniform(0.85, 1.15), 3)
    accent, name = _pick(rng, _ACCENTS), _pick(rng, voices(engine, part))
    return Voice(engine, f"{accent}+{name}" if engine == "espeak" else name, speed, pitch)


def _pick(rng: random.Random, among: tuple[str, ...]) -> str:
    return among[int(rng.random() * len(among))]


def _weighted(rng: random.Random, engines: Mapping[EngineName, float]) -> EngineName:
    names = [name for name in sorted(engines) if engines[name] > 0]
    at = rng.random() * sum(engines[name] for name in names)
    for name in names:
        at -= engines[name]
        if at < 0:
            return name
    return names[-1]  # reached by rounding alone
