"""A saved model gives the same text to whoever has transformers and not stc."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stc.data.manifest import Manifest
from stc.decoding.hypotheses import TranslationSettings
from stc.errors import StcError
from stc.models.load_and_save import load, save
from stc.pipeline.stage import Context
from stc.quantization import methods, quantizer
from stc.verification import plain_transformers as plain
from stc.verification.independent import agreement, independent_translations

STAGE = TranslationSettings(dtype="float32", max_new_tokens=12)

WITHOUT_STC = """
import contextlib, io, runpy, sys
with contextlib.redirect_stderr(io.StringIO()) as said:
    runpy.run_path({program!r}, run_name="__main__")
assert not said.getvalue(), said.getvalue()
found = [name for name in sys.modules if name.split(".")[0] == "stc"]
assert not found, found
"""


@pytest.fixture(scope="module")
def manifest(tiny_manifest: Path) -> Manifest:
    whole = Manifest.load(tiny_manifest)
    return Manifest(whole.folder, whole.task, whole.rows[3:7])


@pytest.fixture(scope="module")
def folders(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model that asks for penalties, and one quantized by each method."""
    root = tmp_path_factory.mktemp("witnessed")
    file = Path(shutil.copytree(tiny_model, root / "penalties")) / "generation_config.json"
    asked = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 3.0, "no_repeat_ngram_size": 1}
    file.write_text(json.dumps(json.loads(file.read_text()) | asked))
    for method in methods():
        quantize = quantizer({"method": method})
        save(load(tiny_model, device="cpu", dtype="float32", quantize=quantize), root / method)
    return {name: root / name for name in ("penalties", *methods())}


@pytest.fixture(scope="module")
def texts(
    folders: dict[str, Path], manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """The texts of each folder. The process fails if it imports stc or prints anything but the texts."""
    program = tmp_path_factory.mktemp("program") / "without_stc.py"
    program.write_text(WITHOUT_STC.format(program=plain.__file__))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "__file__", str(program))
        found = independent_translations([(folder, None) for folder in folders.values()], manifest, STAGE, "cpu")
    return dict(zip(folders, found, strict=True))


def test_independent_process_gives_the_text_of_batched_decoding_whatever_penalties_the_folder_asks_for(
    texts: dict[str, list[str]], tiny_model: Path, manifest: Manifest, ctx: Context
) -> None:
    assert any(texts["penalties"])
    assert texts["penalties"] == STAGE.translate(STAGE.load_model(tiny_model, ctx.device), manifest, ctx)


@pytest.mark.parametrize("method", methods())
def test_independent_process_translates_with_a_quantized_model_and_imports_nothing_of_stc(
    texts: dict[str, list[str]], manifest: Manifest, method: str
) -> None:
    assert len(texts[method]) == len(manifest)


def test_other_text_is_an_error_for_plain_float32_with_the_first_utterance_and_both(
    tiny_model: Path, manifest: Manifest
) -> None:
    with pytest.raises(StcError, match="2 of 4 utterances") as caught:
        agreement(tiny_model, manifest, ["a", "b", "c", "d"], ["a", "x", "c", "y"], "float32")
    message = str(caught.value)
    assert "'utterance-4':\n  stc           b\n  transformers  x\n" in message
    assert "utterance-6" not in message


@pytest.mark.parametrize("method", methods())
def test_other_text_in_bfloat16_or_few_bits_is_a_share(
    folders: dict[str, Path], tiny_model: Path, manifest: Manifest, method: str
) -> None:
    texts = ["a", "b", "c", "d"], ["a", "x", "c", "d"]
    assert agreement(tiny_model, manifest, *texts, "bfloat16") == 0.75
    assert agreement(folders[method], manifest, *texts, "float32") == 0.75
