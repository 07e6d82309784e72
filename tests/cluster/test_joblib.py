"""Sweeps in several processes of this machine."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Start
from held import Held
from slurm import until

from stc.jobs.status import outcomes


def test_jobs_side_by_side_make_what_they_share_once_and_one_that_fails_stops_no_other(
    start: Start, home: Path
) -> None:
    folders = ",".join(str(home / name) for name in ("bad", "good"))
    side_by_side = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    sweep = start(f"data.path={folders}", "seed=1,2", "pipeline.outputs=[train,dev]", *side_by_side)
    stdout, stderr = sweep.communicate(timeout=120)
    assert sweep.returncode == 1, stdout + stderr
    found = outcomes(home / "sweep")
    assert [outcome.state for outcome in found.values()] == ["failed", "failed", "finished", "finished"]
    stages = [json.loads((home / "sweep" / job / "result.json").read_text())["stages"] for job in ("2", "3")]
    made = [stage["identity"] for one in stages for stage in one if not stage["cached"]]
    assert len(made) == len(set(made)) == 2


def test_two_jobs_run_at_once_in_processes_of_their_own(start: Start, home: Path, slow_dev: Held) -> None:
    """Each waits for what it can get only while the other is there as well: both wait for a split."""
    side_by_side = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    start(f"data.path={home}/slow", "data.limit=1,2", "pipeline.outputs=[dev]", *side_by_side)
    until(lambda: [one.state for one in outcomes(home / "sweep").values()] == ["running"] * 2, "two jobs", 60)
    assert len({outcome.process.pid for outcome in outcomes(home / "sweep").values()}) == 2
