"""The benchmarks of speed run at a small shape, and their sides agree there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from processes import Command

from stc.system.paths import ROOT


def figures(script: str, out: Path, *arguments: str) -> Any:
    done = Command(str(ROOT / "benchmarks" / script), "--json", str(out), *arguments)
    assert done.wait() == 0, done.stdout + done.stderr
    return json.loads(out.read_text("utf-8"))


def test_all_sides_of_the_search_find_the_same(tmp_path: Path) -> None:
    small = ["--shape", "tiny", "--utterances", "3", "--batch", "2", "--check-fp32", "2"]
    found = figures("search.py", tmp_path / "search.json", *small)
    german = found["languages"]["de"]
    orders = [side["removed"] for side in german["sides"]]
    assert len(orders[0]) == 2
    assert orders == [orders[0]] * 3
    assert [side["scores"] for side in german["sides"]] == [german["sides"][0]["scores"]] * 3
    assert not any(side["scaled"] for side in german["sides"])
    assert found["float32"]["texts that are equal"] == 2


def test_a_side_that_is_cut_short_is_marked_as_scaled(tmp_path: Path) -> None:
    small = ["--shape", "tiny", "--utterances", "3", "--layers", "1", "--plain-utterances", "1"]
    found = figures("search.py", tmp_path / "s.json", *small, "--plain-candidates", "1", "--batched-candidates", "2")
    sides = found["languages"]["de"]["sides"]
    assert [(side["candidates"], side["scaled"]) for side in sides] == [(1, True), (2, True), (4, False)]


def test_a_side_that_is_cut_short_is_scaled_by_the_layers_its_candidates_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from search import Side
    from speed.watch import Measured

    # Of 6 layers, 4 candidates with 5 layers each, and then 3 with 4: 32 layers. Two candidates, 10 layers, took 5 s.
    side = Side("plain", scores={(0, 1): 0.0, (0, 2): 0.0}, watch=Measured(7.0), once=2.0)
    assert side.whole(6, 2) == 2 + 5 * 32 / 10
    side.share = 0.5
    assert side.whole(6, 2) == 2 + 5 * 32 / 10 / 0.5


def test_all_sides_of_decoding_say_the_same(tmp_path: Path) -> None:
    found = figures("decoding.py", tmp_path / "d.json", "--shape", "tiny", "--utterances", "3", "--batch", "2")
    assert [side["equal texts"] for side in found["languages"]["de"]] == [3, 3, 3]


def test_every_side_of_full_training_has_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUT", str(tmp_path))
    done = Command(str(ROOT / "benchmarks" / "full_training.py"), "--tiny", "--steps", "3")
    assert done.wait() == 0, done.stdout + done.stderr
    sides = json.loads((tmp_path / "full_training.json").read_text("utf-8"))["sides"]
    offered, narrow, wide, kept = (side["losses"] for side in sides)
    assert offered == kept  # whatever is computed again, to the bit
    assert len(offered) == 3
    assert offered[0] == wide[0] != narrow[0]
    assert offered[-1] < offered[0]
    assert all(side["samples_per_second"] > 0 for side in sides)
    assert (tmp_path / "full_training.png").stat().st_size > 0


def test_every_cold_start_is_timed(tmp_path: Path) -> None:
    few = ["--repeat", "1", "pipeline.outputs=[selection]", "tracking=none"]
    found = figures("cold_start.py", tmp_path / "c.json", *few)
    assert len(found["seconds"]) == 4
    assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in found["seconds"].values())
