import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stc.data.manifest import Manifest
from stc.errors import InputError, ModelError
from stc.models import architecture, read_config
from stc.models.language_pair import Task
from stc.models.load_and_save import load
from stc.models.qwen2_audio_config import published_config

GERMAN = Task(target_lang="de", target_name="German")
LIGHT = [
    "stc.models.qwen2_audio",
    "stc.stages.prune",
    "stc.stages.quantize",
    "stc.quantization.nf4",
    "stc.models.folder",
]


def test_imports_without_heavy_libraries() -> None:
    heavy = "{'torch', 'transformers', 'bitsandbytes', 'peft', 'numpy'}"
    code = f"import sys, {', '.join(LIGHT)}; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_prompt_says_who_translates_what_into_what(tiny_model: Path) -> None:
    translator = load(tiny_model, device="cpu", dtype="float32")
    assert translator.architecture.prompt(translator.processor, GERMAN) == (
        "<|im_start|>system\nYou are a professional translator.<|im_end|>\n"
        "<|im_start|>user\n<|audio_bos|><|AUDIO|><|audio_eos|>\nTranslate the English speech into German:<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_prompt_needs_a_chat_template_and_a_known_language(tiny_model: Path) -> None:
    translator = load(tiny_model, device="cpu", dtype="float32")
    with pytest.raises(InputError, match="source_lang=xx"):
        translator.architecture.prompt(translator.processor, GERMAN.model_copy(update={"source_lang": "xx"}))
    translator.processor.chat_template = None
    with pytest.raises(ModelError, match="chat template"):
        translator.architecture.prompt(translator.processor, GERMAN)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_embedding_is_what_the_model_does_itself(tiny_model: Path, tiny_manifest: Path, attention: str) -> None:
    import soundfile

    translator = load(tiny_model, device="cpu", dtype="float32", attention=attention)
    manifest = Manifest.load(tiny_manifest)
    audio = [soundfile.read(path, dtype="float32")[0] for path in manifest.audio_paths()]
    prompt = translator.architecture.prompt(translator.processor, manifest.task)
    batch = translator.processor(
        text=[prompt] * len(audio),
        audio=audio,
        sampling_rate=16_000,
        return_tensors="pt",
        padding=True,
        padding_side="left",
    )
    with torch.no_grad():
        encoded = translator.architecture.encode_audio(translator.model, batch)
        embeds = translator.architecture.embed(translator.model, batch["input_ids"], encoded)
        own = translator.model(inputs_embeds=embeds, attention_mask=batch["attention_mask"]).logits
        expected = translator.model(**batch).logits
    torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)


def test_encoder_over_the_length_of_the_audio_gives_the_output_of_the_whole_window(
    tiny_model: Path,
) -> None:
    translator = load(tiny_model, device="cpu", dtype="float32")
    widths: list[int] = []
    translator.model.model.audio_tower.layers[0].register_forward_hook(lambda *call: widths.append(call[2].shape[1]))
    noise = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)

    def hear(*lengths: int) -> torch.Tensor:
        audio = [noise[:length] for length in lengths]
        features = translator.processor.feature_extractor(
            audio, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True
        )
        batch = {"input_features": features["input_features"], "feature_attention_mask": features["attention_mask"]}
        with torch.no_grad():
            encoded = translator.architecture.encode_audio(translator.model, batch)
        return encoded.states[: encoded.counts[0]]

    for samples in (1_600, 5_920, 16_000, 31_990):
        torch.testing.assert_close(hear(samples), hear(samples, len(noise)), rtol=1e-4, atol=1e-4)
        alone, together = widths[-2:]
        assert alone <= samples / 16_000 * 50 + 2
        assert together == 100


def test_audio_that_does_not_fit_the_prompt_is_refused(tiny_model: Path) -> None:
    translator = load(tiny_model, device="cpu", dtype="float32")
    prompt = translator.architecture.prompt(translator.processor, GERMAN)
    short, long = (
        translator.processor(
            text=prompt, audio=[np.zeros(samples, np.float32)], sampling_rate=16_000, return_tensors="pt"
        )
        for samples in (8_000, 16_000)
    )
    encoded = translator.architecture.encode_audio(translator.model, long)
    with pytest.raises(ModelError, match=r"\[12\] audio tokens.*\[25\]"):
        translator.architecture.embed(translator.model, short["input_ids"], encoded)


def test_parts_cover_every_parameter_once(tiny_model: Path) -> None:
    translator = load(tiny_model, device="cpu", dtype="float32")
    prefixes = [prefix for part in translator.architecture.parts.values() for prefix in part]
    for name, _ in translator.model.named_parameters():
        assert sum(name.startswith(prefix + ".") for prefix in prefixes) == 1, name


def test_layers_of_a_config_with_and_without_the_field(tiny_model: Path) -> None:
    family = architecture("qwen2_audio")
    assert family.layers(read_config(tiny_model)) == {"decoder": 6, "encoder": 2}
    assert family.layers({"text_config": {"vocab_size": 156032}}) == {"decoder": 32, "encoder": 32}


def test_published_shape_has_the_published_number_of_parameters() -> None:
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    config = Qwen2AudioConfig(**published_config())
    with torch.device("meta"):
        model = Qwen2AudioForConditionalGeneration(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_397_094_912
