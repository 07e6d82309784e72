"""COMET is scored by its library, in an environment of its own, and is a metric like any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stc.config.composition import compose_jobs
from stc.errors import ConfigError, InputError, StcError
from stc.evaluate.__main__ import main
from stc.metrics.metric import metric_identities, metric_with, score
from stc.metrics.score_files import Scores
from stc.pipeline import model_cache
from stc.system.paths import ROOT

PYTHON = ROOT / ".venv-comet/bin/python"
TEXTS = (
    ["The red house stands near the river.", "We drink coffee every morning.", "Good morning."],
    ["Das rote Haus steht am Fluss.", "Wir trinken Tee.", "Guten Morgen."],
    ["Das rote Haus steht in der Nähe des Flusses.", "Wir trinken jeden Morgen Kaffee.", "Guten Morgen."],
)
MAKE = """
import sys
from pathlib import Path

import pytorch_lightning
import torch
import yaml
from comet.models import ReferencelessRegression, RegressionMetric
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizerFast

folder = Path(sys.argv[1])
encoder = folder / "encoder"
tokens = Tokenizer(models.Unigram())
tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>")
tokens.train_from_iterator(sys.argv[2:], trainer)
XLMRobertaTokenizerFast(tokenizer_object=tokens).save_pretrained(encoder)
torch.manual_seed(0)
config = XLMRobertaConfig(
    vocab_size=tokens.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=64, max_position_embeddings=130,
)
XLMRobertaModel(config).save_pretrained(encoder)
kinds = {"regression": (RegressionMetric, ""), "kiwi": (ReferencelessRegression, "referenceless_")}
for name, (cls, kind) in kinds.items():
    given = dict(hidden_sizes=[64, 32], layer="mix", train_data=[], validation_data=[])
    model = cls(encoder_model="XLM-RoBERTa", pretrained_model=str(encoder), **given)
    settings = {key: list(one) if isinstance(one, tuple) else one for key, one in model.hparams.items()}
    settings["class_identifier"] = f"{kind}regression_metric"
    (folder / name / "checkpoints").mkdir(parents=True)
    (folder / name / "hparams.yaml").write_text(yaml.safe_dump(settings))
    content = {"state_dict": model.state_dict(), "hyper_parameters": settings}
    content["pytorch-lightning_version"] = pytorch_lightning.__version__
    torch.save(content, folder / name / "checkpoints" / "model.ckpt")
"""


STAND_IN = """#!{python}
import json
import sys
from pathlib import Path

if sys.argv[1] == "-c":
    print("2.2.7")
    sys.exit()
folder = Path(__file__).parent
with (folder / "scored").open("a") as log:
    log.write("start ")
    log.flush()
    sha256 = (folder / "sha256").read_text()
    about = {{"version": "2.2.7", "sha256": sha256, "references": True, "precision": "float16"}}
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        log.write(f"{{len(texts)}} ")
        log.flush()
        print(json.dumps([(len(one["mt"]) + len(sha256)) / 100 for one in texts]), flush=True)
"""


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    model_cache.clear()


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """The folder of a program in the place of COMET's Python. The score of a text is its length, and a little more that
    the checkpoint on its hub decides; the file ``scored`` says when it was started, and how much it has scored."""
    folder = tmp_path / "environment"
    folder.mkdir()
    program = folder / "python"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    (folder / "sha256").write_text("1234567890abcdef")
    return folder


def scored_by(stand_in: Path, monkeypatch: pytest.MonkeyPatch, hypotheses: list[str]) -> Scores:
    """Score as a run of its own does: no process of COMET is running, and nothing is in memory."""
    model_cache.clear()
    cache = Path(os.environ["XDG_CACHE_HOME"])
    fresh = cache.with_name(f"{cache.name}+")
    if cache.exists():
        cache.rename(fresh)
    monkeypatch.setenv("XDG_CACHE_HOME", str(fresh))
    own = {"comet": {"python": str(stand_in / "python")}}
    return Scores.of(["comet"], hypotheses, hypotheses, "de", hypotheses, own)


def test_later_run_starts_no_process_for_what_was_scored(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scored_by(stand_in, monkeypatch, ["a", "abc", "a"])
    assert [row[0] for row in first.metrics["comet"].statistics] == pytest.approx([17, 19, 17])
    assert scored_by(stand_in, monkeypatch, ["a", "abc", "a"]) == first
    assert (stand_in / "scored").read_text() == "start 2 "


def test_later_run_scores_only_what_is_new(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored_by(stand_in, monkeypatch, ["a", "abc"])
    found = scored_by(stand_in, monkeypatch, ["abc", "abcde", "a"])
    assert [row[0] for row in found.metrics["comet"].statistics] == pytest.approx([19, 21, 17])
    assert (stand_in / "scored").read_text() == "start 2 start 1 "


def test_another_checkpoint_under_the_same_name_scores_everything_again(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_by(stand_in, monkeypatch, ["a", "abc"])
    (stand_in / "sha256").write_text("1234567890abcdef12")
    found = scored_by(stand_in, monkeypatch, ["a", "abc", "abcde"]).metrics["comet"]
    assert [row[0] for row in found.statistics] == pytest.approx([19, 21, 23])
    assert (stand_in / "scored").read_text() == "start 2 start 3 "


def test_who_reads_the_pickle_is_said_once(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("a", "b"):
        scored_by(stand_in, monkeypatch, [text])
    told = [line for line in capsys.readouterr().err.splitlines() if "pickle" in line]
    assert len(told) == 1
    assert str(stand_in / "python") in told[0]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small checkpoints with random weights: one reads references, the other, as CometKiwi, does not."""
    folder = tmp_path_factory.mktemp("comet")
    subprocess.run(
        [PYTHON, "-c", MAKE, folder, *[text for texts in TEXTS for text in texts] * 5], check=True, capture_output=True
    )
    return folder


def settings(checkpoints: Path, name: str = "regression") -> dict[str, dict[str, Any]]:
    return {"comet": {"checkpoint": str(checkpoints / name / "checkpoints" / "model.ckpt"), "python": str(PYTHON)}}


@pytest.mark.comet
@pytest.mark.parametrize("name", ["regression", "kiwi"])
def test_scores_are_those_of_the_library_s_own_command(name: str, checkpoints: Path, tmp_path: Path) -> None:
    for file, lines in zip("smr", TEXTS, strict=True):
        (tmp_path / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    checkpoint = settings(checkpoints, name)["comet"]["checkpoint"]
    command = [
        PYTHON.with_name("comet-score"),
        "-s",
        "s",
        "-t",
        "m",
        "--gpus",
        "0",
        "--model",
        checkpoint,
        "--to_json",
        "out",
    ]
    subprocess.run(
        command + (["-r", "r"] if name == "regression" else []), cwd=tmp_path, check=True, capture_output=True
    )
    expected = [one["COMET"] for one in json.loads((tmp_path / "out").read_text())["m"]]
    sources, hypotheses, references = TEXTS
    found = Scores.of(["comet"], hypotheses, references, "de", sources, settings(checkpoints, name)).metrics["comet"]
    assert [row[0] / 100 for row in found.statistics] == pytest.approx(expected, abs=1e-4)
    assert found.score / 100 == pytest.approx(sum(expected) / 3, abs=1e-4)
    assert ("reference:none" in found.signature) == (name == "kiwi")


@pytest.mark.comet
def test_process_serves_every_score_until_the_model_cache_is_emptied(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, hypotheses, references = TEXTS
    metric = metric_with("comet", settings(checkpoints))
    before = score("comet", hypotheses, references, "de", sources, metric)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subprocess, "Popen", None)
        again = metric_with("comet", settings(checkpoints))
        assert score("comet", hypotheses[::-1], references, "de", sources, again) != before
    model_cache.clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing here"))
    assert score("comet", hypotheses, references, "de", sources, metric) == pytest.approx(before, abs=1e-4)


@pytest.mark.comet
def test_fault_of_the_process_is_shown(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"no checkpoint")
    metric = metric_with("comet", {"comet": {"checkpoint": str(tmp_path / "model.ckpt"), "python": str(PYTHON)}})
    with pytest.raises(StcError, match="comet: its process ended"):
        score("comet", ["a"], ["b"], "de", ["c"], metric)


def test_a_checkpoint_is_known_by_its_content(tmp_path: Path) -> None:
    identities = []
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
        identities.append(
            metric_identities(["comet"], {"comet": {"checkpoint": str(tmp_path / name), "batch_size": 3}})
        )
    assert identities[0] == identities[1] != identities[2]


def test_without_its_environment_a_run_is_refused_before_it_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    asked = [
        "metrics=comet",
        "prune.ratio=0.5",
        f"metrics.comet.python={tmp_path / 'python'}",
        f"store.dir={tmp_path / 's'}",
    ]
    with pytest.raises(ConfigError, match="make comet"):
        compose_jobs(asked)
    with pytest.raises(InputError, match="make comet"):
        metric_with("comet", {"comet": {"python": str(tmp_path / "python")}}).check_ready("de")


def test_mistyped_setting_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    with pytest.raises(ConfigError, match="did you mean 'checkpoint'"):
        compose_jobs(["metrics=comet", "prune.ratio=0.5", "+metrics.comet.chekpoint=a", f"store.dir={tmp_path / 's'}"])


@pytest.mark.comet
def test_blind_set_is_scored_by_a_checkpoint_that_reads_no_references_and_by_no_other(
    checkpoints: Path, tiny_model: Path, tiny_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [f"m={tiny_model}", "--data", str(tiny_manifest), "--blind", "--output", str(tmp_path), "--metrics", "comet"]
    for name, code in (("kiwi", 0), ("regression", 1)):
        given = [f"comet.{key}={value}" for key, value in settings(checkpoints, name)["comet"].items()]
        chosen = [one for setting in given for one in ("--metric-setting", setting)]
        assert main([*told, *chosen, "--device", "cpu", "--max-new-tokens", "8", "--json"]) == code
    said = capsys.readouterr()
    signature = json.loads(said.out)["signatures"]["comet"]
    assert "reference:none" in signature
    assert "comet compares with references" in said.err
