"""The example code in a model card: translating one recording with public libraries alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stc.decoding.hypotheses import TranslationSettings

MODEL = """\
import soundfile
from transformers import AutoProcessor, {model_class}

name = {name}
model = {model_class}.from_pretrained(name, dtype={dtype}, device_map="auto")
processor = AutoProcessor.from_pretrained(name)
"""

ATTACHED_ADAPTER = """\
from peft import PeftModel
model = PeftModel.from_pretrained(model, name, subfolder="adapter")
"""

ADAPTER_ON_BASE = """\
import soundfile
from peft import PeftModel
from transformers import AutoProcessor, {model_class}

base, name = {base}, {name}
model = {model_class}.from_pretrained(base, dtype={dtype}, device_map="auto")
model = PeftModel.from_pretrained(model, name)
processor = AutoProcessor.from_pretrained(base)
"""

# The arguments of generate are explicit, as the generation config of an adapter's base may ask for sampling.
TRANSLATE = """
conversation = {conversation}
prompt = processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
audio, rate = soundfile.read("utterance.wav", dtype="float32")
inputs = processor(text=[prompt], audio=[audio], sampling_rate=rate, return_tensors="pt")
inputs = inputs.to(model.device, dtype=model.dtype)
tokens = model.generate(**inputs, do_sample=False, repetition_penalty=1.0, max_new_tokens={max_new_tokens})
print(processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])"""


def example_code(
    name: str,
    model_class: str,
    conversation: Sequence[Any],
    settings: TranslationSettings,
    *,
    base: str | None = None,
    has_adapter: bool = False,
    first_import: str | None = None,
) -> str:
    """Return Python code that prints the translation of ``utterance.wav``.

    Args:
        name: of the model; if there is a ``base``, of the adapter on it.
        model_class: the transformers class of the model, or of the base.
        has_adapter: whether the model's folder has an adapter that belongs to it.
        first_import: a module that makes the model's quantization known to transformers.
    """
    turns = ",\n    ".join(json.dumps(turn, ensure_ascii=False) for turn in conversation)
    loading = ADAPTER_ON_BASE if base else MODEL + ATTACHED_ADAPTER if has_adapter else MODEL
    values = {"name": name, "base": base, "dtype": settings.dtype}
    return (
        (f"import {first_import}\n" if first_import else "")
        + loading.format(model_class=model_class, **{key: json.dumps(value) for key, value in values.items()})
        + TRANSLATE.format(conversation=f"[\n    {turns},\n]", max_new_tokens=settings.max_new_tokens)
    )
