"""The jobs of a sweep, and those without a result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from stc.errors import InputError
from stc.report.sweep_jobs import DEFAULT, latest_results, read_jobs
from stc.report.sweep_report import render

WRONG = {"teacher": 1, "pruned-nf4": 8}


def test_job_that_failed_is_listed_with_its_settings(sweep: Any) -> None:
    sweep.add(WRONG, prune="greedy")
    failed = sweep.ask({"prune": "random"})
    done, missing = read_jobs([sweep.folder])
    assert (done.fault, done.settings) == ("", {"prune": "greedy"})
    assert (missing.folder, missing.settings) == (failed, {"prune": "random"})
    text = render(sweep.folder).terminal
    assert "1 of 2 jobs without a result" in text
    assert [str(failed), "random", "has"] in [line.split()[:3] for line in text.splitlines()]


def test_job_that_was_not_started_is_listed(sweep: Any) -> None:
    sweep.add(WRONG, prune="greedy")
    task = ["prune=greedy,middle,random"]
    OmegaConf.save({"hydra": {"overrides": {"task": task}}}, sweep.folder / "multirun.yaml")
    jobs = read_jobs([sweep.folder])
    assert [(job.settings["prune"], job.fault) for job in jobs] == [
        ("greedy", ""),
        ("middle", "was not begun"),
        ("random", "was not begun"),
    ]


def test_jobs_are_in_the_order_of_their_numbers(sweep: Any) -> None:
    for number in range(11):
        sweep.ask({"seed": number})
    assert [job.settings["seed"] for job in read_jobs([sweep.folder])] == list(range(11))


def test_setting_that_a_job_does_not_override_has_the_value_of_its_config(sweep: Any) -> None:
    sweep.ask({"prune.ratio": 0.25})
    sweep.ask({"prune": "random", "stages.heal.epochs": 3})
    first, second = read_jobs([sweep.folder])
    assert first.settings == {"prune.ratio": 0.25, "prune": "greedy", "stages.heal.epochs": DEFAULT}
    assert second.settings == {"prune.ratio": 0.5, "prune": "random", "stages.heal.epochs": 3}


def test_folders_and_tracking_are_no_settings(sweep: Any) -> None:
    sweep.ask({"tracking": "none", "store.dir": "store", "prune.ratio": 0.25})
    assert list(read_jobs([sweep.folder])[0].settings) == ["prune.ratio"]


def test_run_without_a_comparison_is_reported_as_such(sweep: Any) -> None:
    job = sweep.ask({})
    (job / "result.json").write_text(json.dumps({"systems": [], "stages": []}))
    assert "compares no systems" in read_jobs([sweep.folder])[0].fault


@pytest.mark.parametrize("text", ["[]", "{", '{"systems": 1}', '{"systems": [{}]}', '{"systems": [], "runs": [1]}'])
def test_job_with_a_damaged_result_is_listed_with_the_file(sweep: Any, text: str) -> None:
    job = sweep.add(WRONG)
    (job / "result.json").write_text(text)
    assert str(job / "result.json") in read_jobs([sweep.folder])[0].fault


def test_comparison_that_is_not_in_the_store_is_named(sweep: Any) -> None:
    job = sweep.add(WRONG)
    identity = json.loads((job / "result.json").read_text())["stages"][0]["identity"]
    shutil.rmtree(sweep.store.root / "comparison")
    (found,) = read_jobs([sweep.folder])
    assert identity in found.fault
    assert str(sweep.store.root) in found.fault


def test_damaged_comparison_is_not_used(sweep: Any) -> None:
    sweep.add(WRONG)
    (file,) = sweep.store.root.glob("comparison/*/comparison.json")
    file.write_text(file.read_text().replace("1", "2"))
    assert "damaged: comparison.json" in read_jobs([sweep.folder])[0].fault


def test_results_are_read_from_a_store_that_was_moved(sweep: Any, tmp_path: Path) -> None:
    sweep.add(WRONG)
    moved = tmp_path / "elsewhere"
    sweep.store.root.rename(moved)
    with pytest.raises(InputError, match=r"/store.*--store FOLDER"):
        read_jobs([sweep.folder])
    assert read_jobs([sweep.folder], moved)[0].fault == ""


def test_latest_sweep_or_run_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"outputs.*multirun"):
        latest_results()
    for name in ("multirun/2026-01-02/10-00-00", "outputs/2026-01-09/23-00-00", "multirun/2026-01-10/09-00-00"):
        (tmp_path / name).mkdir(parents=True)
        assert latest_results() == Path(name)
    (tmp_path / "outputs/2026-01-10/08-00-00").mkdir(parents=True)
    assert latest_results() == Path("multirun/2026-01-10/09-00-00")


def test_missing_folder_is_refused_with_the_names_of_others(sweep: Any) -> None:
    with pytest.raises(InputError, match=r"sweeep is not a folder .*sweep"):
        read_jobs([sweep.folder.with_name("sweeep")])


def test_folder_without_jobs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no job in it"):
        read_jobs([tmp_path])


def test_folder_of_one_seed_is_reported_by_itself(sweep: Any) -> None:
    job = sweep.add(WRONG, seeds=[1, 2], prune="greedy")
    (of_both,) = read_jobs([job])
    for number, seed in enumerate((1, 2)):
        (alone,) = read_jobs([job / f"seed{seed}"])
        assert (alone.fault, alone.seeds, alone.settings) == ("", (), of_both.settings)
        assert [one.row for one in alone.runs[0].systems] == [one.row for one in of_both.runs[number].systems]


def test_folders_of_two_seeds_differ_in_the_seed(sweep: Any) -> None:
    job = sweep.add(WRONG, seeds=[1, 2])
    overrides = OmegaConf.load(job / ".hydra" / "hydra.yaml")
    overrides.hydra.overrides.task = ["seeds=[1,2]"]
    OmegaConf.save(overrides, job / ".hydra" / "hydra.yaml")
    found = read_jobs([job / "seed1", job / "seed2"])
    assert [one.settings for one in found] == [{"seed": 1}, {"seed": 2}]
