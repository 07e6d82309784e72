"""Speech engines behind one small interface, and the voices each part of the corpus may use.

The engines serve the recipe of the corpus only: ``pip install 'stc[corpus]'``. None is thread-safe; use processes.
"""

from __future__ import annotations

import ctypes
import random
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

from stc.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EngineName = Literal["espeak", "hibari"]
SAMPLE_RATE = 16_000
HELD_OUT_ENGINES: frozenset[EngineName] = frozenset({"hibari"})  # heard in the test part only

_ACCENTS = ("en-US", "en", "en-GB-x-rp", "en-GB-scotland", "en-GB-x-gbclan", "en-GB-x-gbcwmd", "en-029", "en-US-nyc")
# Variants of the espeak-ng data folder that sound like people. Whispering and robot voices are left out, as are
# those (caleb, Reed) whose samples differ from call to call.
_VARIANTS = (
    "Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike Nguyen "
    "Storm adam anika announcer antonio aunty belinda benjamin boris david ed edward edward2 f1 f2 f3 f4 f5 "
    "grandma grandpa gustave ian iven iven2 iven3 iven4 john kaukovalta linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max "
    "michel miguel mike2 norbert pablo paul pedro quincy rob robert sandro shelby steph steph2 steph3 travis victor zac"
)
# Whole families (steph, steph2, …), so that no test voice has a sibling in training.
HELD_OUT_VARIANTS = (
    "Alicia Andy Henrique Michael announcer belinda f3 grandma iven iven2 iven3 iven4 m4 m7 max quincy sandro "
    "steph steph2 steph3"
)


@dataclass(frozen=True)
class Voice:
    """Who speaks and how.

    Attributes:
        name: accent and variant for espeak (``en-US+f2``), the voice's own name for hibari.
        speed: 1 is the engine's normal pace.
        pitch: 1 is the voice's normal pitch.
    """

    engine: EngineName
    name: str
    speed: float
    pitch: float

    def __str__(self) -> str:
        return f"{self.engine}:{self.name}"


def variants(part: str) -> list[str]:
    """The espeak variants a part is spoken by: those of ``test`` are heard nowhere else."""
    held_out = HELD_OUT_VARIANTS.split()
    return held_out if part == "test" else [name for name in _VARIANTS.split() if name not in held_out]


def draw_voice(rng: random.Random, part: str, engine: EngineName) -> Voice:
    speed, pitch = round(rng.uniform(0.85, 1.2), 3), round(rng.uniform(0.85, 1.15), 3)
    if engine == "hibari":
        return Voice(engine, "heart", speed, pitch)
    names = variants(part)
    accent, variant = _ACCENTS[int(rng.random() * len(_ACCENTS))], names[int(rng.random() * len(names))]
    return Voice(engine, f"{accent}+{variant}", speed, pitch)


class Engine(Protocol):
    def speak(self, text: str, voice: Voice, seed: int) -> NDArray[np.float32]:
        """Mono samples in [-1, 1] at :data:`SAMPLE_RATE`; ``seed`` fixes whatever is random in the engine."""
        ...


@cache
def engine(name: EngineName) -> Engine:
    """The engine of this process.

    Raises:
        InputError: its package is not installed.
    """
    try:
        return _Espeak() if name == "espeak" else _Hibari()
    except ModuleNotFoundError as error:
        package = {"espeak": "espeakng-loader", "hibari": "hibari-tts"}[name]
        raise InputError(
            f"speech engine {name!r} needs the package {package} ({error.name} is missing): pip install 'stc[corpus]'"
        ) from None


class _Espeak:
    """espeak-ng's library through ctypes; constants and signatures as in its ``speak_lib.h``."""

    _SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: the callback has had all samples when espeak_Synth returns
    _UTF8 = 1
    _RATE, _PITCH = 1, 3
    _WORDS_A_MINUTE, _NORMAL_PITCH = 165, 50

    def __init__(self) -> None:
        import espeakng_loader

        self._path = espeakng_loader.get_library_path()
        self._data = espeakng_loader.get_data_path().encode()
        self._chunks: list[bytes] = []
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = callback(self._receive)  # kept: the library holds the bare pointer

    def _receive(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def speak(self, text: str, voice: Voice, seed: int) -> NDArray[np.float32]:
        import _ctypes

        import numpy as np

        # The library keeps state of one utterance for the next (the phase of its flutter, for one) that neither
        # espeak_Terminate nor a seed resets. Loading it anew for each (1 ms) makes samples a matter of arguments alone.
        library = ctypes.CDLL(self._path)
        try:
            rate = library.espeak_Initialize(self._SYNCHRONOUS, 0, self._data, 0)
            if rate <= 0:
                raise InputError(f"espeak-ng does not start with the data in {self._data.decode()}")
            library.espeak_SetSynthCallback(self._callback)
            library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
            if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
                raise InputError(f"espeak-ng has no voice {voice.name!r}")
            library.espeak_SetParameter(self._RATE, round(self._WORDS_A_MINUTE * voice.speed), 0)
            library.espeak_SetParameter(self._PITCH, round(self._NORMAL_PITCH * voice.pitch**2), 0)
            self._chunks.clear()
            data = text.encode()
            library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, self._UTF8, None, None)
            library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)
        samples = np.frombuffer(b"".join(self._chunks), dtype="<i2").astype(np.float32) / 32768
        return _resample(samples, rate)


class _Hibari:
    """hibari-tts; pitch by resampling, made up for in speed."""

    def __init__(self) -> None:
        import hibari

        self._hibari = hibari.Hibari()
        self._rate = hibari.SAMPLE_RATE

    def speak(self, text: str, voice: Voice, seed: int) -> NDArray[np.float32]:
        samples = self._hibari(text, speed=voice.speed / voice.pitch, seed=seed)
        return _resample(samples, round(self._rate * voice.pitch / 100) * 100)


def _resample(samples: NDArray[Any], rate: int) -> NDArray[np.float32]:
    from math import gcd

    import numpy as np
    from scipy.signal import resample_poly

    common = gcd(rate, SAMPLE_RATE)
    return np.asarray(resample_poly(samples, SAMPLE_RATE // common, rate // common), dtype=np.float32)
