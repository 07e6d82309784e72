"""A saved model gives the same text to whoever has transformers and not stc."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stc.data.manifest import Manifest
from stc.decoding.hypotheses import Translating
from stc.errors import StcError
from stc.models.folder import ModelFolder
from stc.models.qwen2_audio import ARCHITECTURE
from stc.pipeline.stage import Context
from stc.quantization import methods
from stc.stages.quantize import Quantize
from stc.store.artifact import Artifact, Kind
from stc.verification import plain_transformers as plain
from stc.verification.independent import agreement, witness

STAGE = Translating(dtype="float32", max_new_tokens=12)

WITHOUT_STC = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
found = [name for name in sys.modules if name.split(".")[0] == "stc"]
assert not found, found
"""


@pytest.fixture(scope="module")
def manifest(tiny_manifest: Path) -> Manifest:
    whole = Manifest.load(tiny_manifest)
    return Manifest(whole.folder, whole.task, whole.rows[3:7])


@pytest.fixture(params=methods())
def quantized(tiny_model: Path, tmp_path: Path, ctx: Context, request: pytest.FixtureRequest) -> Path:
    stage = Quantize.model_validate({"dtype": "float32", "quant": {"method": request.param}})
    stage.run({"model": Artifact(Kind.MODEL, tiny_model, "a")}, tmp_path / "quantized", ctx)
    return tmp_path / "quantized"


def test_witness_gives_the_text_of_batched_decoding_whatever_penalties_the_folder_asks_for(
    tiny_model: Path, manifest: Manifest, tmp_path: Path, ctx: Context
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    file = copy / "generation_config.json"
    asked = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 3.0, "no_repeat_ngram_size": 1}
    file.write_text(json.dumps(json.loads(file.read_text()) | asked))
    theirs = witness(copy, manifest, STAGE, "cpu")
    assert any(theirs)
    assert theirs == STAGE.translations(STAGE.loaded(tiny_model, ctx), manifest, ctx)


def test_witness_imports_nothing_of_stc_even_for_a_quantized_model(quantized: Path, manifest: Manifest) -> None:
    packed_by = ModelFolder.of(quantized).quantizer
    assert packed_by is not None
    request = {
        "models": [[str(quantized), None]], "exactly": dict(packed_by.EXACTLY),
        "conversation": ARCHITECTURE.conversation(manifest.task),
        "chat_template": None,
        "audio": [str(path) for path in manifest.audio_paths()], "device": "cpu", "dtype": "float32",
        "attention": "sdpa", "max_new_tokens": 12, "threads": 1,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_STC, plain.__file__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [texts] = json.loads(done.stdout)
    assert len(texts) == len(manifest)
    assert done.stderr == ""


def test_other_text_is_an_error_for_plain_float32_with_the_first_utterance_and_both(
    tiny_model: Path, manifest: Manifest
) -> None:
    with pytest.raises(StcError, match="2 of 4 utterances") as caught:
        agreement(tiny_model, manifest, ["a", "b", "c", "d"], ["a", "x", "c", "y"], "float32")
    message = str(caught.value)
    assert "'utterance-4':\n  stc           b\n  transformers  x\n" in message
    assert "utterance-6" not in message


def test_other_text_in_bfloat16_or_few_bits_is_a_share(tiny_model: Path, quantized: Path, manifest: Manifest) -> None:
    texts = ["a", "b", "c", "d"], ["a", "x", "c", "d"]
    assert agreement(tiny_model, manifest, *texts, "bfloat16") == 0.75
    assert agreement(quantized, manifest, *texts, "float32") == 0.75
