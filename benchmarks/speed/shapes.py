"""The models that speed is measured on, and the utterances they translate.

    talks   the base and the splits that ship with stc, computed in float32
    7b      random weights at the shape of Qwen2-Audio-7B; noise of 3 to 14 s
    tiny    the same with everything narrow, to try the 7b steps without a GPU

Random weights would end a sentence at random. Here they never do: the rows of the head that are not those of a
letter or a digit are zero, so that no other token, an end among them, is ever the most probable. Each token is then
one character of the text, and equal texts are equal tokens.
"""

from __future__ import annotations

import argparse
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from stc.config.languages import load_language
from stc.data.manifest import Manifest, Utterance
from stc.data.sources import Columns
from stc.errors import InputError
from stc.models import architecture
from stc.models.create_qwen2_audio import SAMPLING_RATE, build_processor, random_model
from stc.models.language_pair import Task
from stc.models.load_and_save import Translator, load
from stc.models.qwen2_audio_config import published_config
from stc.stages.manifest import Manifest as Split
from stc.system.durable_files import file_sha256
from stc.system.paths import ROOT

Shape = Literal["talks", "7b", "tiny"]
SHAPES = get_args(Shape)
CHARACTERS = string.ascii_letters + string.digits
# Learnt by the tokenizer, so that a prompt has about as many tokens as with the published one.
PROMPT_WORDS = [
    "You are a professional translator. Translate the English speech into German: Chinese: system user assistant"
] * 2
SHORTEST, LONGEST = 3.0, 14.0  # seconds of noise
RANDOM_TOKENS, TALKS_TOKENS = 40, 48  # of a translation; the second where it has not ended by itself


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        max_new_tokens: of a translation.
        fixed: every translation has exactly that many, a character each.
        metric: what the search goes by.
    """

    translator: Translator
    manifest: Manifest
    max_new_tokens: int
    fixed: bool
    metric: str

    @property
    def layers(self) -> int:
        return len(self.translator.model.get_decoder().layers)


def add_subject(parser: argparse.ArgumentParser) -> None:
    """What says which subject is measured, with which side beside; :func:`settle` fills in what is not given."""
    parser.add_argument("--shape", choices=SHAPES, default="talks")
    parser.add_argument(
        "--lang", nargs="+", choices=["de", "zh"], help="both on the shipped model; de with random weights"
    )
    parser.add_argument("--batch", type=int, default=100, help="of batched generate")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="bfloat16 at 7b, else float32")


def settle(args: argparse.Namespace) -> None:
    args.lang = args.lang or (["de", "zh"] if args.shape == "talks" else ["de"])
    args.dtype = args.dtype or ("bfloat16" if args.shape == "7b" else "float32")


def subject(
    shape: Shape, lang: str, folder: Path, *, split: str, utterances: int | None, device: str, dtype: str
) -> Subject:
    """The model of a shape, and its utterances.

    Args:
        folder: where noise is written to; empty.
        split: of the shipped corpus; noise has none.
        utterances: the first so many; None is the whole split, or 100 of noise.
    """
    if shape == "talks":
        columns = Columns(audio="audio", source="text_en", target=f"text_{lang}")
        stage = Split(
            path=ROOT / "assets" / "talks",
            split=split,
            columns=columns,
            task=load_language(lang).task,
            limit=utterances,
        )
        translator = load(ROOT / "assets" / "base", device=device, dtype=dtype)
        return Subject(translator, stage.in_place(), TALKS_TOKENS, False, load_language(lang).metric)
    translator = random_translator(shape, device=device, dtype=dtype)
    manifest = noise(folder, 100 if utterances is None else utterances, load_language(lang).task)
    return Subject(translator, manifest, RANDOM_TOKENS, True, load_language(lang).metric)


def random_translator(shape: Shape, *, device: str, dtype: str) -> Translator:
    """A model with random weights that says letters and digits only."""
    from transformers import GenerationConfig, Qwen2AudioConfig

    config = Qwen2AudioConfig(**(published_config() if shape == "7b" else narrow_config()))
    processor = build_processor([CHARACTERS, *PROMPT_WORDS], 600, config.audio_config.max_source_positions // 50, 128)
    tokenizer = processor.tokenizer
    config.audio_token_id = tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    model = random_model(config, seed=0, device=device, dtype=dtype)
    said = torch.tensor(tokenizer.convert_tokens_to_ids(list(CHARACTERS)), device=device)
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        kept = head[said].clone()
        head.zero_()
        head[said] = kept
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return Translator(model, processor, architecture(config.model_type), Path(shape))


def narrow_config() -> dict[str, Any]:
    """The published shape, narrow and with 6 decoder layers, its weights large enough for every layer to matter."""
    config = published_config()
    config["audio_config"] |= {"d_model": 64, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    config["text_config"] |= {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 6,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 512,
        "bos_token_id": None,
        "eos_token_id": None,
        "initializer_range": 0.2,
    }
    return config


def noise(folder: Path, utterances: int, task: Task) -> Manifest:
    """A manifest of noise, its durations spread evenly, with characters drawn at random for targets. Seeded."""
    import soundfile

    random = np.random.default_rng(0)
    (folder / "audio").mkdir(parents=True)
    rows = []
    for number, seconds in enumerate(random.permutation(np.linspace(SHORTEST, LONGEST, utterances))):
        file = folder / "audio" / f"{number:04}.wav"
        samples = 0.1 * random.standard_normal(int(seconds * SAMPLING_RATE))
        soundfile.write(file, samples, SAMPLING_RATE)
        target = "".join(random.choice(list(CHARACTERS), RANDOM_TOKENS))
        audio = str(file.relative_to(folder))
        duration = len(samples) / SAMPLING_RATE
        rows.append(
            Utterance(id=file.stem, audio=audio, sha256=file_sha256(file), duration=duration, source="", target=target)
        )
    return Manifest(folder, task, rows)


def check_lengths(subject: Subject, texts: list[str], side: str) -> None:
    """Raises:
    InputError: a side did not generate the number of tokens all sides have to.
    """
    if subject.fixed and (wrong := [text for text in texts if len(text) != subject.max_new_tokens]):
        raise InputError(f"{side}: a text of {len(wrong[0])} tokens, not {subject.max_new_tokens}: {wrong[0]!r}")
