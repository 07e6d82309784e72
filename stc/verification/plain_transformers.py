"""Translate with a model folder by transformers alone: greedily by ``generate``, one utterance at a time.

This script is started by :mod:`stc.verification.independent` and imports nothing of stc. So its texts are what anybody
gets who has the folder and public libraries. It reads a JSON request from standard input and writes the texts to
standard output, a JSON list with a list for each model. The request:

    models          pairs of a model folder, and the folder of an adapter that peft loads onto it, or null
    conversation    the request about each utterance, for the folder's chat template
    chat_template   the template if the folder has none, else null; may be left out
    audio           files, one for each utterance
    device, dtype, attention, max_new_tokens, threads
    registers       modules to import before the models are loaded; may be left out
    exactly         attributes of packed layers, with their values for computing in float32; may be left out
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import math
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any


def load(folder: str, adapter: str | None, request: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """Return the model, its processor, and the prompt of an utterance."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(request["threads"])
    model = transformers.AutoModelForMultimodalLM.from_pretrained(
        folder,
        dtype=getattr(torch, request["dtype"]),
        attn_implementation=request["attention"],
        device_map={"": request["device"]},
        local_files_only=True,
    )
    if request["dtype"] == "float32":
        for module in model.modules():
            for name, value in request.get("exactly", {}).items():
                if hasattr(module, name):
                    setattr(module, name, value)
    processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
    # Of the folder's settings, only the tokens that end a turn are used. Penalties would not be greedy decoding.
    stated = model.generation_config.eos_token_id
    ends = {*(stated if isinstance(stated, list) else [stated]), processor.tokenizer.eos_token_id} - {None}
    model.generation_config = transformers.GenerationConfig(
        do_sample=False, eos_token_id=sorted(ends), pad_token_id=min(ends), max_new_tokens=request["max_new_tokens"]
    )
    if adapter is not None:
        import peft

        model = peft.PeftModel.from_pretrained(model, adapter)
    processor.tokenizer.padding_side = "left"  # a padded prompt must end where its answer begins
    prompt = processor.apply_chat_template(
        request["conversation"], request.get("chat_template"), tokenize=False, add_generation_prompt=True
    )
    return model, processor, prompt


def translate(model: Any, processor: Any, prompt: str, sounds: Sequence[Any]) -> list[str]:
    """Return the text of each sound, on one line, stripped. All are translated together.

    Args:
        sounds: float32 samples at the processor's sampling rate, (samples,) each.
    """
    import torch

    inputs = processor(
        text=[prompt] * len(sounds),
        audio=list(sounds),
        sampling_rate=processor.feature_extractor.sampling_rate,
        padding=True,
        return_tensors="pt",
    )
    inputs = inputs.to(model.device, dtype=model.dtype)
    with torch.inference_mode():
        tokens = model.generate(**inputs)[:, inputs["input_ids"].shape[1] :]
    texts = processor.tokenizer.batch_decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return [" ".join(text.splitlines()).strip() for text in texts]


def translations(folder: str, adapter: str | None, request: Mapping[str, Any]) -> list[str]:
    """Return the text of each file of ``request["audio"]``, one at a time."""
    model, processor, prompt = load(folder, adapter, request)
    rate = processor.feature_extractor.sampling_rate
    return [text for file in request["audio"] for text in translate(model, processor, prompt, [read(file, rate)])]


def read(file: str, rate: int) -> Any:
    """Return the file as float32 samples, channels averaged, at ``rate`` a second."""
    import soundfile

    with open(file, "rb") as content:  # by name, soundfile would take a .raw file as headerless
        samples, found = soundfile.read(content, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if found == rate:
        return mono
    from scipy.signal import resample_poly

    common = math.gcd(found, rate)
    return resample_poly(mono, rate // common, found // common).astype("float32")


def main() -> None:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    gc.disable()  # while importing, it would search the libraries' objects again and again, all of which stay
    import transformers

    # scikit-learn would be imported for a way of decoding that is not used here, which takes a second.
    transformers.utils.is_sklearn_available = lambda: False
    from transformers import GenerationMixin  # noqa: F401

    gc.enable()
    request = json.load(sys.stdin)
    for name in request.get("registers", []):
        importlib.import_module(name)
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for the answer only
        texts = [translations(folder, adapter, request) for folder, adapter in request["models"]]
    json.dump(texts, sys.stdout)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # a normal exit takes a second longer
