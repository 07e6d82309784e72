"""Fixtures: the folder of a run on ACL 60/60 by its name, and hand-ins of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from compressed_store import compress

from stc.submit.__main__ import main


@pytest.fixture(scope="session")
def finished_run(tiny_model: Path, tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as it leaves its folder, on data called acl6060. Its last system is quantized, the one before pruned."""
    home = tmp_path_factory.mktemp("handed_in")
    made = compress(tiny_model, tiny_manifest, home / "store")
    run = home / "run"
    (run / ".hydra").mkdir(parents=True)
    systems = [
        {
            "name": name,
            "model_dir": str(made(name)),
            "hypotheses": str(made(f"evaluate_{name}") / "hypotheses.txt"),
        }
        for name in ("base", "prune", "quantize")
    ]
    (run / "result.json").write_text(json.dumps({"systems": systems}))
    (run / ".hydra/config.yaml").write_text(
        "model: {name: small, path: someone/small}\ndata: {name: acl6060}\n"
        "lang: {code: de, name: German}\nprune: {method: greedy}\n"
    )
    return run


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """The run, with a config and translations that a test may change."""
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    result = json.loads((folder / "result.json").read_text())
    last = result["systems"][-1]
    scores = Path(last["hypotheses"]).parent
    last["hypotheses"] = str(shutil.copytree(scores, tmp_path / "store/scores" / scores.name) / "hypotheses.txt")
    (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture(scope="session")
def good(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid hand-in for IWSLT 2026, of one test set."""
    out = tmp_path_factory.mktemp("iwslt") / "out"
    assert main([str(finished_run), "--task", "iwslt2026", "--team", "KIT", "--output", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def folder(finished_run: Path, tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hand-in in WMT26's form, of the pruned system. The export that it has in it is not proven."""
    out = tmp_path_factory.mktemp("wmt") / "small"
    asked = ["--task", "wmt26", "--system", "prune", "--output", str(out), "--device", "cpu"]
    asked += ["--data", str(tiny_manifest)]
    with pytest.MonkeyPatch.context() as patch:
        checked = "stc.export.round_trip_check.independent_translations"
        patch.setattr(checked, lambda *args, **kwargs: [["text"], ["text"]])
        assert main([str(finished_run), *asked]) == 0
    return out
