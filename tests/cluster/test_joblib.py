"""Sweeps in several processes of this machine."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Start
from results_in_progress import Held
from slurm import until

from stc.jobs.status import job_statuses


def test_jobs_run_at_once_and_make_what_they_share_once_and_one_that_fails_stops_no_other(
    start: Start, home: Path, slow_dev: Held
) -> None:
    """The first two wait for the same split, which neither can get before both are there."""
    folders = ",".join(str(home / name) for name in ("slow", "bad"))
    side_by_side = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    sweep = start(f"data.path={folders}", "seed=1,2", "pipeline.outputs=[train,dev]", *side_by_side)
    until(lambda: [one.state for one in job_statuses(home / "sweep").values()] == ["running"] * 2, "two jobs", 60)
    assert len({outcome.process.pid for outcome in job_statuses(home / "sweep").values()}) == 2
    slow_dev.release()
    stdout, stderr = sweep.communicate(timeout=120)
    assert sweep.returncode == 1, stdout + stderr
    found = job_statuses(home / "sweep")
    assert [outcome.state for outcome in found.values()] == ["finished", "finished", "failed", "failed"]
    stages = [json.loads((home / "sweep" / job / "result.json").read_text())["stages"] for job in ("0", "1")]
    made = [stage["identity"] for one in stages for stage in one if not stage["cached"]]
    assert len(made) == len(set(made)) == 2
