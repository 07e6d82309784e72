"""The code of a card: translating one recording with public libraries alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stc.decoding.hypotheses import TranslationSettings

ATTACHED = """\
from peft import PeftModel
model = PeftModel.from_pretrained(model, name, subfolder="adapter")
"""

MODEL = """\
import soundfile
from transformers import AutoProcessor, {model_class}

name = {name}
model = {model_class}.from_pretrained(name, dtype={dtype}, device_map="auto")
processor = AutoProcessor.from_pretrained(name)
"""

ADAPTER = """\
import soundfile
from peft import PeftModel
from transformers import AutoProcessor, {model_class}

base, name = {base}, {name}
model = {model_class}.from_pretrained(base, dtype={dtype}, device_map="auto")
model = PeftModel.from_pretrained(model, name)
processor = AutoProcessor.from_pretrained(base)
"""

# The generation config of an adapter's base may ask for sampling and penalties, which are not what was evaluated.
TRANSLATE = """
conversation = {conversation}
prompt = processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
audio, rate = soundfile.read("utterance.wav", dtype="float32")
inputs = processor(text=[prompt], audio=[audio], sampling_rate=rate, return_tensors="pt")
inputs = inputs.to(model.device, dtype=model.dtype)
tokens = model.generate(**inputs, do_sample=False, repetition_penalty=1.0, max_new_tokens={max_new_tokens})
print(processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])"""


def snippet(
    name: str,
    model_class: str,
    conversation: Sequence[Any],
    settings: TranslationSettings,
    *,
    base: str | None = None,
    attached: bool = False,
    registers: str | None = None,
) -> str:
    """Python that prints the translation of ``utterance.wav``.

    Args:
        name: of the model, or, where ``base`` is given, of the adapter on it.
        model_class: the transformers class of the model, or of the base.
        attached: whether the model's folder has an adapter that belongs to it.
        registers: a module that makes the model's quantization known to transformers.
    """
    told = ",\n    ".join(json.dumps(turn, ensure_ascii=False) for turn in conversation)
    loading = ADAPTER if base else MODEL + ATTACHED if attached else MODEL
    first = f"import {registers}\n" if registers else ""
    return (
        first
        + loading.format(
            name=json.dumps(name), base=json.dumps(base), model_class=model_class, dtype=json.dumps(settings.dtype)
        )
        + TRANSLATE.format(conversation=f"[\n    {told},\n]", max_new_tokens=settings.max_new_tokens)
    )
