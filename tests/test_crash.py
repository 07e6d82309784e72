"""The crash test of benchmarks/, on the tiny model; and that it finds what it is there to find."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from filled_store import spec_of
from test_end_to_end import data, settings  # noqa: F401

from stc.store import Store, identity_of
from stc.store.artifact import Kind
from stc.system.paths import ROOT

ONE, TWO, THREE = (identity_of(spec_of(name)) for name in ("one", "two", "three"))
CRASH_TEST = ROOT / "benchmarks" / "crash_test.py"


@pytest.mark.crash
def test_killed_workers_end_with_the_results_of_a_run_left_in_peace(
    tiny_model: Path,
    data: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    long = ("finetune.epochs=8", "finetune.batch_size=1")  # enough steps for checkpoints
    asked = settings(tiny_model, data, tmp_path, "metrics.witnessed=0", "pipeline.outputs=[evaluate]", *long)
    done = subprocess.run(
        [sys.executable, CRASH_TEST, "--kills", "9", "--keep", home, *asked],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((home / "report.json").read_text())
    assert len(report["kills"]) >= 9
    assert report["published"] == report["artifacts"] + report["set_aside"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two artifacts, ``one`` and ``two``."""
    monkeypatch.syspath_prepend(CRASH_TEST.parent)
    return filled(tmp_path / "store")


def filled(root: Path) -> Path:
    for name, identity in (("one", ONE), ("two", TWO)):
        with Store(root).publish(Kind.MODEL, identity) as (folder, record):
            (folder / "weights").write_text(f"weights of {name}")
            record.update(name=name, spec=spec_of(name), facts={}, curves={})
    return root


@pytest.mark.parametrize("name", ["weights", "stc.record.json"])
@pytest.mark.parametrize("how", ["changed", "cut short", "deleted", "added to"])
def test_a_corrupted_artifact_is_found(store: Path, name: str, how: str) -> None:
    from crash.checks import corrupted

    assert not corrupted(store)
    file = store / "model" / ONE / name
    content = file.read_text()
    if how == "changed":
        file.write_text(content.replace("one", "two"))
    elif how == "cut short":
        file.write_text(content[:-9])
    elif how == "deleted":
        file.unlink()
    else:
        (file.parent / f"{name}.more").write_text("")
    assert list(corrupted(store)) == [("model", ONE)]


def test_stores_that_differ_in_an_artifact_or_in_a_byte_are_told_apart(store: Path, tmp_path: Path) -> None:
    from crash.checks import differing

    other = filled(tmp_path / "other")
    assert not differing(store, other, but=())
    with Store(other).publish(Kind.MODEL, THREE):
        pass
    record = json.loads((other / "model" / TWO / "stc.record.json").read_text())
    record["files"]["weights"]["sha256"] = "0"
    (other / "model" / TWO / "stc.record.json").write_text(json.dumps(record))
    assert differing(store, other, but=()) == [
        f"model {THREE} is in one store only",
        f"model {TWO}: files differs",
    ]


def test_what_was_kept_and_made_again_is_told(store: Path) -> None:
    from crash.checks import Ledger

    lines = ["1 begun a", "2 checkpoint a 7", "3 resumed a 5", "4 published a", "6 begun a", "7 resumed a 0"]
    events = [(float(moment), words) for moment, *words in map(str.split, lines)]
    ledger = Ledger(events, {"a": [5.0]})
    assert ledger.again == ["a"]
    assert ledger.lost == ["a resumed 5 of 7"]
    assert not Ledger(events, {"a": [5.0, 5.5]}).again  # it was damaged before it was begun again
