"""Speaking a part of the corpus into a folder: what the stage and the shipped data are both made by."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from stc.system.durable_files import file_sha256
from talks.effects import Effects, apply, draw_effects
from talks.engines import engine
from talks.grammar import Part, Sentence, sentences, words_of
from talks.speech import SAMPLE_RATE, EngineName, Voice, check_engines, draw_voice

AudioFormat = Literal["wav", "ogg"]
_OPUS_COMPRESSION = 0.95  # libsndfile's scale of 0 to 1; about 21 kbit/s at 16 kHz, and still wideband


@dataclass(frozen=True)
class Request:
    """One utterance to be spoken. All of it follows from the seed, the part and the sentence's number."""

    id: str
    sentence: Sentence
    voice: Voice
    effects: Effects
    seed: int

    @property
    def noisy(self) -> bool:
        return self.effects.noise is not None


@dataclass(frozen=True)
class Spoken:
    """A finished utterance; ``audio`` is relative to the folder it was spoken into, ``duration`` in seconds."""

    request: Request
    audio: str
    sha256: str
    duration: float


def requests(
    seed: int, part: Part, engines: Mapping[EngineName, float], noise: float, without: Collection[str] = ()
) -> Iterator[Request]:
    """Without end; ids count from ``<part>-000001``. Engines speak by weight; a share ``noise`` is noisy.

    The sentences in ``without`` are left out, each with its number.

    Raises:
        InputError: an engine does not speak the part.
    """
    check_engines(engines, part)
    left_out = {words_of(english) for english in without}
    for number, sentence in enumerate(sentences(seed, part), start=1):
        if words_of(sentence.en) in left_out:
            continue
        # a generator of its own, so that an utterance does not depend on how many others are asked for
        rng = random.Random(f"{part}-{seed}-{number}")
        voice = draw_voice(rng, part, engines)
        effects = draw_effects(rng, part, rng.random() < noise)
        yield Request(f"{part}-{number:06}", sentence, voice, effects, int(rng.random() * 2**31))


def _speak(request: Request, folder: Path, audio_format: AudioFormat, max_seconds: float) -> Spoken | None:
    import soundfile

    speech = engine(request.voice.engine).speak(request.sentence.en, request.voice, request.seed)
    if len(speech) == 0 or len(speech) > max_seconds * SAMPLE_RATE:
        return None
    samples = apply(speech, request.effects)
    audio = f"audio/{request.id}.{audio_format}"
    if audio_format == "wav":
        soundfile.write(folder / audio, samples, SAMPLE_RATE, subtype="PCM_16")
    else:
        soundfile.write(
            folder / audio, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=_OPUS_COMPRESSION
        )
    return Spoken(request, audio, file_sha256(folder / audio), len(samples) / SAMPLE_RATE)


def speak(
    wanted: Iterator[Request],
    count: int,
    folder: Path,
    *,
    audio_format: AudioFormat,
    max_seconds: float,
    workers: int,
    done: Callable[[int], object],
) -> list[Spoken]:
    """Speak the first ``count`` requests that last no longer than ``max_seconds``, in order.

    Longer ones leave a gap in the ids. ``workers`` are processes; ``done(n)`` is called after every ``n`` utterances.
    """
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    one = partial(_speak, folder=folder, audio_format=audio_format, max_seconds=max_seconds)
    spoken: list[Spoken] = []
    # spawn: a fork of a process with threads (torch, MLflow) may hang
    with multiprocessing.get_context("spawn").Pool(max(1, workers)) as pool:
        while len(spoken) < count:
            batch = islice(wanted, count - len(spoken))
            for result in pool.imap(one, batch, chunksize=16):
                if result is not None:
                    spoken.append(result)
                    done(1)
    return spoken
