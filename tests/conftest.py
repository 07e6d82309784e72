"""A tiny real model, a manifest of short sounds, and a context: what most tests start from."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported anywhere: tiny models, and equal results
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks the real hub

import numpy as np
import pytest
import soundfile
from plain_python import PlainPython, started

from stc.data.manifest import Manifest, Utterance
from stc.models.language_pair import Task
from stc.pipeline.stage import Context, Progress
from stc.system.durable_files import file_sha256

if TYPE_CHECKING:
    import torch

    from stc.models.load_and_save import Translator

SENTENCES = [
    ("The red house stands near the river.", "Das rote Haus steht am Fluss."),
    ("A small dog runs across the street.", "Ein kleiner Hund läuft über die Straße."),
    ("We drink coffee every morning.", "Wir trinken jeden Morgen Kaffee."),
    ("The train leaves at seven.", "Der Zug fährt um sieben ab."),
    ("She reads a book in the garden.", "Sie liest ein Buch im Garten."),
    ("They have opened the old window.", "Sie haben das alte Fenster geöffnet."),
    ("My brother buys fresh bread.", "Mein Bruder kauft frisches Brot."),
    ("Tomorrow it will rain again.", "Morgen wird es wieder regnen."),
]
RATE = 16_000
WINDOW_SECONDS = 2


# A file is run by one process; these begin first, so that no process is left alone with one at the end.
LONG = ["test_end_to_end.py", "test_sweep.py", "test_schema.py", "test_sharing.py"]


gc.set_threshold(100_000)  # imports make objects by the million, and none of them is ever given back


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported is not looked through again wherever stc frees memory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files, and skip what needs a GPU where there is none."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if wanting:
        import torch

        if not torch.cuda.is_available():
            for item in wanting:
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Qwen2-Audio with 6 decoder layers; its weights are large enough for every layer to matter."""
    from stc.models.create_qwen2_audio import build_processor, create

    folder = tmp_path_factory.mktemp("models") / "tiny"
    texts = [text for pair in SENTENCES for text in pair]
    config = {
        "audio_config": {
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "num_mel_bins": 40,
            "max_source_positions": 50 * WINDOW_SECONDS,
            "initializer_range": 0.2,
        },
        "text_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 6,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "initializer_range": 0.2,
        },
    }
    create(folder, config=config, processor=build_processor(texts, 384, WINDOW_SECONDS, 40), seed=0)
    return folder


@pytest.fixture(scope="session")
def tiny_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest folder: eight utterances of 0.4 to 1.8 s, tones in noise, with German targets."""
    folder = tmp_path_factory.mktemp("manifests") / "tiny"
    (folder / "audio").mkdir(parents=True)
    random = np.random.default_rng(0)
    rows = []
    for number, (source, target) in enumerate(SENTENCES):
        seconds = 0.4 + 0.2 * number
        time = np.arange(round(seconds * RATE)) / RATE
        sound = 0.3 * np.sin(2 * np.pi * (200 + 90 * number) * time) + 0.02 * random.standard_normal(len(time))
        path = folder / "audio" / f"{number}.wav"
        soundfile.write(path, sound, RATE)
        rows.append(
            Utterance(
                id=f"utterance-{number}",
                audio=f"audio/{number}.wav",
                sha256=file_sha256(path),
                duration=len(time) / RATE,
                source=source,
                target=target,
            )
        )
    Manifest(folder, Task(target_lang="de", target_name="German"), rows).save()
    return folder


@pytest.fixture(scope="session")
def planted_model(tiny_model: Path, tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the tiny model, with 5 encoder layers, and trained until it translates the tiny manifest without a fault.
    Decoder layer 3 and encoder layer 2 pass on what they are given; every other one has become needed."""
    import torch
    from transformers import AutoConfig

    from stc.decoding.token_loss import translation_loss
    from stc.models.create_qwen2_audio import create
    from stc.models.load_and_save import load, save
    from stc.training.examples import Examples

    folder = tmp_path_factory.mktemp("models") / "planted"
    config = AutoConfig.from_pretrained(tiny_model)
    config.audio_config.encoder_layers = 5
    processor = load(tiny_model, device="cpu", dtype="float32").processor
    translator = create(folder, config=config, processor=processor, seed=0)
    manifest = Manifest.load(tiny_manifest)
    examples = Examples(translator, manifest, _context(folder, train_micro_batch=8), encode_once=False)
    batch = examples.batch(range(len(manifest)))
    above, below = translator.model.get_decoder().layers[3], translator.model.model.audio_tower.layers[2]
    for linear in (above.self_attn.o_proj, above.mlp.down_proj, below.self_attn.out_proj, below.fc2):
        for parameter in linear.parameters():
            torch.nn.init.zeros_(parameter).requires_grad_(False)
    trained = [parameter for parameter in translator.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3, weight_decay=0.0)
    for _ in range(15):
        (translation_loss(translator, batch) / batch.tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
    save(translator, folder)
    return folder


class _Silent:
    def update(self, n: int = 1, note: str = "") -> None:
        pass


@contextmanager
def _silent(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
    yield _Silent()


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    """A context on the CPU that logs and shows nothing."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return _context(scratch, train_micro_batch=4)


@pytest.fixture(scope="module")
def module_ctx(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A context like ``ctx``, for what the tests of a file have in common."""
    return _context(tmp_path_factory.mktemp("scratch"), train_micro_batch=4)


def _context(scratch: Path, train_micro_batch: int) -> Context:
    return Context(
        device="cpu",
        workers=0,
        train_micro_batch=train_micro_batch,
        decode_batch=4,
        scratch=scratch,
        log=lambda *args, **kwargs: None,
        progress=_silent,
    )


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many utterances the encoder works on at each of its passes."""
    from stc.models.qwen2_audio import Qwen2Audio

    seen: list[int] = []
    hear = Qwen2Audio.encode_audio

    def counted(self, model, batch):  # type: ignore[no-untyped-def]
        seen.append(len(batch["input_features"]))
        return hear(self, model, batch)

    monkeypatch.setattr(Qwen2Audio, "encode_audio", counted)
    return seen


PLAIN_LOGITS = """
import sys
import torch
from safetensors.torch import save_file
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration
folder, out, dtype = sys.argv[1:]
model = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=dtype)
AutoProcessor.from_pretrained(folder)
with torch.no_grad():
    save_file({"logits": model(input_ids=torch.arange(1, 30)[None]).logits}, out)
assert not [name for name in sys.modules if name.split(".")[0] == "stc"]
"""


@pytest.fixture(scope="session")
def logits() -> Callable[[Translator], torch.Tensor]:
    """``logits(translator)``: for token ids 1 to 29, by stc's own model in this process."""
    import torch

    def compute(translator: Translator) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = translator.model(input_ids=torch.arange(1, 30)[None]).logits
        return found

    return compute


@pytest.fixture(scope="session")
def plain_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainPython]:
    """A process that imports no stc and runs scripts."""
    with started(tmp_path_factory.mktemp("plain_python")) as process:
        yield process


@pytest.fixture
def plain_logits(tmp_path: Path, plain_python: PlainPython) -> Callable[[Path, str], torch.Tensor]:
    """``plain_logits(folder, dtype)``: logits for token ids 1 to 29, by a process that imports no stc."""
    from safetensors.torch import load_file

    def compute(folder: Path, dtype: str) -> torch.Tensor:
        out = tmp_path / "plain_logits.safetensors"
        plain_python.run(PLAIN_LOGITS, str(folder), str(out), dtype).check_returncode()
        return load_file(out)["logits"]

    return compute


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; making one takes seconds, copying it none."""
    from mlflow import MlflowClient

    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{database}").search_experiments()
    return database
