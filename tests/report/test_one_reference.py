"""The groups of a sweep: one reference for each language, shared controls, seeds, and missing scores."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from stc.config.job_names import short_names
from stc.errors import InputError
from stc.metrics.significance import retention
from stc.report.stored_results import ScoredSystem
from stc.report.sweep_jobs import read_jobs
from stc.report.sweep_report import render
from stc.report.sweep_table import Group, TableLine, group_jobs, resolve_key

CONTROLS = {"teacher": 2, "teacher-nf4": 3}


def add_two(sweep: Any) -> None:
    """Two jobs that differ in healing, of which the second has the better control."""
    sweep.add({**CONTROLS, "healed-nf4": 4, "pruned-nf4": 8}, finetune="full")
    sweep.add({**CONTROLS, "healed-nf4": 1, "pruned-nf4": 6}, finetune="lora")


def the_group(sweep: Any, systems: str | None = None) -> Group:
    (group,) = group_jobs(read_jobs([sweep.folder]), systems)
    return group


def lines_of(group: Group, name: str) -> list[TableLine]:
    return [line for line in group.lines if line.name == name]


def the_quality(system: ScoredSystem) -> list[list[int]]:
    assert system.quality is not None
    return system.quality.metrics["chrf_pp"].statistics


def test_all_jobs_of_a_language_have_one_reference_which_is_the_best_unpruned_system(sweep: Any) -> None:
    """Each job alone would take a reference of its own: the first its teacher, the second its healed control."""
    add_two(sweep)
    group = the_group(sweep)
    assert group.reference_name == "healed-nf4 (finetune=lora)"
    assert [line.settings for line in group.lines if line.row["is_reference"]] == [{"finetune": "lora"}]
    for line in group.lines:
        expected = retention(
            "chrf_pp", the_quality(line.systems[0]), the_quality(group.reference[0]), **group.resampling
        )
        assert (line.row["retention"], line.row["retention_ci"]) == (expected.value, expected.interval)


def test_pruned_system_is_no_reference_however_good(sweep: Any) -> None:
    sweep.add({"teacher": 5, "pruned-nf4": 0})
    assert the_group(sweep).reference_name == "teacher"


def test_control_shared_by_jobs_has_one_line_and_others_show_their_settings(sweep: Any) -> None:
    add_two(sweep)
    group = the_group(sweep)
    assert [(line.name, line.settings) for line in group.lines] == [
        ("teacher", {}),
        ("teacher-nf4", {}),
        ("healed-nf4", {"finetune": "full"}),
        ("healed-nf4", {"finetune": "lora"}),
        ("pruned-nf4", {"finetune": "full"}),
        ("pruned-nf4", {"finetune": "lora"}),
    ]
    assert len(lines_of(group, "teacher")[0].jobs) == 2


@pytest.mark.parametrize(
    ("systems", "names"),
    [
        ("controls", {"teacher", "teacher-nf4", "healed-nf4"}),
        ("teacher,pruned-nf4", {"teacher", "pruned-nf4"}),
        ("all", {"teacher", "teacher-nf4", "healed-nf4", "pruned-nf4"}),
    ],
)
def test_choosing_systems_does_not_change_the_reference(systems: str, names: set[str], sweep: Any) -> None:
    add_two(sweep)
    group = the_group(sweep, systems)
    assert {line.name for line in group.lines} == names
    assert group.reference_name == "healed-nf4 (finetune=lora)"


def test_unknown_system_is_refused_with_a_suggestion(sweep: Any) -> None:
    add_two(sweep)
    with pytest.raises(InputError, match=r"--systems pruned: .*teacher-nf4.*did you mean 'pruned-nf4'"):
        the_group(sweep, "pruned")


def test_each_language_has_its_own_table(sweep: Any) -> None:
    sweep.add({**CONTROLS, "pruned-nf4": 8}, lang="de")
    sweep.add({**CONTROLS, "pruned-nf4": 8}, lang="zh")
    found = group_jobs(read_jobs([sweep.folder]))
    assert [(group.language, group.metric, list(group.keys)) for group in found] == [
        ("German", "chrf_pp", []),
        ("Chinese", "chrf", []),
    ]


def test_scores_on_different_data_are_in_different_tables(sweep: Any) -> None:
    sweep.add({**CONTROLS, "pruned-nf4": 8}, test="one")
    sweep.add({**CONTROLS, "pruned-nf4": 8}, test="two")
    report = render(sweep.folder)
    one, two = report.groups
    assert one.test != two.test
    assert f"## German, test set {one.test[:8]}, 100 test sentences" in report.markdown
    assert f"## German, test set {two.test[:8]}, 100 test sentences" in report.markdown


def test_seeds_are_compared_seed_by_seed_and_give_mean_and_deviation(sweep: Any) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8}, seeds=[1, 2, 3], finetune="full")
    sweep.add({"teacher": 1, "pruned-nf4": 9}, seeds=[1, 2, 3], finetune="lora")
    group = the_group(sweep)
    assert group.seeds == (1, 2, 3)
    (teacher,) = lines_of(group, "teacher")
    assert (teacher.row["retention"], teacher.row["retention_deviation"]) == (1, 0)
    line = lines_of(group, "pruned-nf4")[0]
    ratios = [
        one.row["chrf_pp"] / other.row["chrf_pp"] for one, other in zip(line.systems, group.reference, strict=True)
    ]
    assert line.row["retention"] == pytest.approx(sum(ratios) / 3)
    assert line.row["chrf_pp_deviation"] > 0
    assert "3 seeds (1, 2, 3)" in " ".join(render(sweep.folder).terminal.split())


def test_runs_of_several_seeds_are_not_mixed_with_runs_of_one(sweep: Any) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8}, seeds=[1, 2], finetune="full")
    sweep.add({"teacher": 1, "pruned-nf4": 8}, finetune="lora")
    assert [group.seeds for group in group_jobs(read_jobs([sweep.folder]))] == [(1, 2), ()]


def test_report_needs_no_models_and_without_scores_loses_only_the_interval(sweep: Any) -> None:
    """The store of these tests has no models at all; here the scores go as well, and only the interval is lost."""
    sweep.add({"teacher": 1, "pruned-nf4": 8})
    before = the_group(sweep)
    gone = lines_of(before, "pruned-nf4")[0]
    shutil.rmtree(sweep.store.root / "scores" / gone.systems[0].scores)
    after = the_group(sweep)
    row = lines_of(after, "pruned-nf4")[0].row
    assert row["retention"] == pytest.approx(gone.row["retention"])
    assert row["retention_ci"] is None
    assert "No interval for pruned-nf4" in render(sweep.folder).markdown
    assert lines_of(after, "teacher")[0].row["retention_ci"] is not None


def test_note_says_that_measurements_are_of_several_machines(sweep: Any) -> None:
    sweep.add({"teacher": 1, "pruned-nf4": 8}, finetune="full")
    assert "machines" not in render(sweep.folder).markdown
    sweep.machine = {"cpu": "another"}
    sweep.add({"teacher": 1, "pruned-nf4": 9}, finetune="lora")
    assert "They were taken on 2 machines" in render(sweep.folder).markdown


def test_short_names_are_unique() -> None:
    keys = ["prune", "prune.ratio", "finetune@recover", "teacher.epochs", "finetune.epochs"]
    assert list(short_names(keys).values()) == ["prune", "ratio", "recover", "teacher.epochs", "finetune.epochs"]


def test_key_is_found_by_its_suffix() -> None:
    keys = ["prune", "prune.ratio", "teacher.epochs", "finetune.epochs"]
    assert [resolve_key(asked, keys) for asked in ("prune", "ratio", "finetune.epochs")] == [
        "prune",
        "prune.ratio",
        "finetune.epochs",
    ]
    with pytest.raises(InputError, match=r"'epochs' .*teacher\.epochs or finetune\.epochs"):
        resolve_key("epochs", keys)
    with pytest.raises(InputError, match=r"'ration' .*did you mean 'ratio'"):
        resolve_key("ration", keys)


def test_table_shows_varying_settings_and_the_reference(sweep: Any) -> None:
    add_two(sweep)
    lines = render(sweep.folder).terminal.splitlines()
    assert lines[0] == "German, 100 test sentences"
    assert lines[3].split()[:3] == ["system", "finetune", "layers"]
    pruned = [line.split()[:3] for line in lines if line.startswith("pruned-nf4")]
    assert pruned[:2] == [["pruned-nf4", "full", "8"], ["pruned-nf4", "lora", "8"]]
    assert "chrF++ relative to healed-nf4 (finetune=lora)" in " ".join(lines)
    assert "2 jobs" in " ".join(lines)


def test_single_run_is_reported_like_a_sweep_of_one(sweep: Any) -> None:
    job = sweep.add({**CONTROLS, "pruned-nf4": 8})
    report = render(job)
    assert [line.name for line in report.groups[0].lines] == ["teacher", "teacher-nf4", "pruned-nf4"]
    assert report.jobs[0].folder == Path(job)
