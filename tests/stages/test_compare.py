"""compare makes a table of systems, and refuses systems that cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stc.errors import InputError
from stc.metrics.score_files import Measurement, Scores
from stc.pipeline.stage import Context
from stc.report.run_table import compared_systems
from stc.stages.compare import Compare
from stc.store.artifact import Artifact, Kind

REFERENCES = [f"Das Haus Nummer {number} steht am Fluss, und der Hund läuft." for number in range(30)]
GOOD = REFERENCES
FAIR = [line.replace("Haus", "Boot") for line in REFERENCES]
BAD = [line.replace("Das Haus", "Ein Dach").replace("Fluss", "Weg") for line in REFERENCES]
STAGE = Compare(metric="chrf_pp", resamples=50, confidence=0.95, seed=0)


def make_inputs(
    folder: Path,
    made: Mapping[str, tuple[int, list[str]]],
    metrics: tuple[str, ...] = ("bleu", "chrf_pp"),
    encoder_layers: Mapping[str, int] | None = None,
) -> dict[str, dict[str, Artifact]]:
    """Artifacts of systems given as label → (decoder layers, hypotheses)."""
    inputs: dict[str, dict[str, Artifact]] = {"scores": {}, "measurements": {}, "models": {}}
    for label, (layers, hypotheses) in made.items():
        for name, kind in (("scores", Kind.SCORES), ("measurements", Kind.MEASUREMENT), ("models", Kind.MODEL)):
            path = folder / name / label
            path.mkdir(parents=True)
            inputs[name][label] = Artifact(kind, path, f"{name}-{label}")
        Scores.of(metrics, hypotheses, REFERENCES, "de").save(inputs["scores"][label].path)
        references = "".join(f"{line}\n" for line in REFERENCES)
        (inputs["scores"][label].path / "references.txt").write_text(references, encoding="utf-8")
        Measurement(
            decoder_layers=layers,
            encoder_layers=(encoder_layers or {}).get(label, 4),
            parameters=layers * 10**6,
            packed_elements=layers * 10**6,
            bytes_on_disk=layers * 2 * 10**6,
            rtf=0.1,
            rtf_batched=0.02,
            decode_batch=8,
            peak_memory_bytes=10**9,
            peak_memory_batched_bytes=2 * 10**9,
            load_seconds=1.0,
            utterances=5,
            audio_seconds=10.0,
            device="cpu",
            threads=1,
            machine={},
        ).save(inputs["measurements"][label].path)
    return inputs


def run(inputs: dict[str, dict[str, Artifact]], tmp_path: Path, ctx: Context) -> dict[str, Any]:
    out = tmp_path / "out"
    out.mkdir()
    STAGE.run(inputs, out, ctx)
    content: dict[str, Any] = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    return content


def by_name(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {system["name"]: system for system in content["systems"]}


def test_table_says_what_systems_said_instead_and_what_was_removed(tmp_path: Path, ctx: Context) -> None:
    inputs = make_inputs(tmp_path, {"teacher": (12, GOOD), "pruned": (6, BAD)})
    facts = {
        "output_faults": {"loops": 2},
        "output_rules": {"strip": ["quotes"], "stop_repetition": None, "changed": 1},
    }
    inputs["scores"]["pruned"] = replace(inputs["scores"]["pruned"], facts=facts)
    rows = by_name(run(inputs, tmp_path, ctx))
    assert facts.items() <= rows["pruned"].items()
    assert rows["teacher"]["output_faults"] is None
    for name in ("table.txt", "table.md"):
        table = " ".join((tmp_path / "out" / name).read_text(encoding="utf-8").split())
        assert "pruned: 2 of 30 loop" in table
        assert "(decoding.strip=[quotes]): pruned 1 of 30" in table


def test_reference_is_the_best_unpruned_system(tmp_path: Path, ctx: Context) -> None:
    """Not the best of all: here a pruned system beats every unpruned one."""
    made = {"base": (12, BAD), "teacher": (12, FAIR), "pruned": (6, GOOD)}
    content = run(make_inputs(tmp_path, made), tmp_path, ctx)
    rows = by_name(content)
    assert content["reference"] == "teacher"
    assert rows["teacher"]["retention"] == 1.0
    assert rows["teacher"]["retention_ci"] == [1.0, 1.0]
    assert rows["base"]["retention"] < 1 < rows["pruned"]["retention"]
    low, high = rows["base"]["retention_ci"]
    assert low <= rows["base"]["retention"] <= high


def test_system_whose_encoder_was_pruned_is_no_unpruned_one(tmp_path: Path, ctx: Context) -> None:
    made = {"teacher": (12, FAIR), "pruned": (12, GOOD)}
    inputs = make_inputs(tmp_path, made, encoder_layers={"pruned": 2})
    assert run(inputs, tmp_path, ctx)["reference"] == "teacher"


def test_each_system_is_tested_against_every_unpruned_one_and_two_of_those_once(tmp_path: Path, ctx: Context) -> None:
    made = {"teacher": (12, GOOD), "pruned": (6, BAD), "control": (12, FAIR)}
    rows = by_name(run(make_inputs(tmp_path, made), tmp_path, ctx))
    against = {name: [test["against"] for test in row["tests"]] for name, row in rows.items()}
    assert against == {"teacher": [], "pruned": ["teacher", "control"], "control": ["teacher"]}


def test_test_is_about_the_system_and_the_one_it_names(tmp_path: Path, ctx: Context) -> None:
    rows = by_name(run(make_inputs(tmp_path, {"teacher": (12, FAIR), "pruned": (6, BAD)}), tmp_path, ctx))
    (test,) = rows["pruned"]["tests"]
    assert test["value"] == pytest.approx(rows["pruned"]["chrf_pp"] - rows["teacher"]["chrf_pp"])
    assert test["interval"][0] <= test["value"] <= test["interval"][1] < 0
    assert test["p_randomization"] < 0.05


def test_interval_of_the_score_holds_it(tmp_path: Path, ctx: Context) -> None:
    row = by_name(run(make_inputs(tmp_path, {"teacher": (12, BAD)}), tmp_path, ctx))["teacher"]
    low, high = row["score_ci"]
    assert low <= row["chrf_pp"] <= high


def test_rows_keep_the_order_of_the_scores(tmp_path: Path, ctx: Context) -> None:
    inputs = make_inputs(tmp_path, {"z": (12, FAIR), "a": (6, BAD), "m": (12, GOOD)})
    inputs["models"] = dict(sorted(inputs["models"].items()))
    assert [system["name"] for system in run(inputs, tmp_path, ctx)["systems"]] == ["z", "a", "m"]


def test_metric_that_was_not_computed_is_left_out(tmp_path: Path, ctx: Context) -> None:
    content = run(make_inputs(tmp_path, {"teacher": (12, FAIR)}), tmp_path, ctx)
    assert "chrf" not in by_name(content)["teacher"]
    assert set(content["signatures"]) == {"bleu", "chrf_pp"}


def test_comparison_names_no_path(tmp_path: Path, ctx: Context) -> None:
    content = run(make_inputs(tmp_path, {"teacher": (12, FAIR)}), tmp_path, ctx)
    assert str(tmp_path) not in json.dumps(content)


def test_systems_adds_where_the_files_are(tmp_path: Path, ctx: Context) -> None:
    inputs = make_inputs(tmp_path, {"teacher": (12, FAIR), "pruned": (6, BAD)})
    run(inputs, tmp_path, ctx)
    rows = compared_systems(Artifact(Kind.COMPARISON, tmp_path / "out", "comparison"), inputs)
    assert [row["model_dir"] for row in rows] == [str(tmp_path / "models" / name) for name in ("teacher", "pruned")]
    assert rows[1]["hypotheses"] == str(tmp_path / "scores" / "pruned" / "hypotheses.txt")


def test_tables_name_every_system(tmp_path: Path, ctx: Context) -> None:
    run(make_inputs(tmp_path, {"teacher": (12, FAIR), "pruned": (6, BAD)}), tmp_path, ctx)
    for file in ("table.txt", "table.md"):
        text = (tmp_path / "out" / file).read_text(encoding="utf-8")
        assert "teacher" in text
        assert "pruned" in text


def test_system_without_a_measurement_is_refused_by_name(tmp_path: Path, ctx: Context) -> None:
    inputs = make_inputs(tmp_path, {"teacher": (12, FAIR), "pruned": (6, BAD)})
    inputs["measurements"]["prune"] = inputs["measurements"].pop("pruned")
    with pytest.raises(InputError, match=r"measurements lacks 'pruned'.*did you mean 'prune'"):
        run(inputs, tmp_path, ctx)


def test_model_without_scores_is_refused_by_name(tmp_path: Path, ctx: Context) -> None:
    inputs = make_inputs(tmp_path, {"teacher": (12, FAIR), "pruned": (6, BAD)})
    del inputs["scores"]["pruned"], inputs["measurements"]["pruned"]
    with pytest.raises(InputError, match="models has 'pruned', which scores lacks"):
        run(inputs, tmp_path, ctx)


def test_scores_on_different_data_are_refused(tmp_path: Path, ctx: Context) -> None:
    inputs = make_inputs(tmp_path, {"teacher": (12, FAIR), "pruned": (6, BAD)})
    (inputs["scores"]["pruned"].path / "references.txt").write_text("something else\n", encoding="utf-8")
    with pytest.raises(InputError, match="'pruned' and 'teacher' were scored on different data"):
        run(inputs, tmp_path, ctx)


def test_retention_by_a_metric_not_computed_is_refused(tmp_path: Path, ctx: Context) -> None:
    inputs = make_inputs(tmp_path, {"teacher": (12, FAIR)}, metrics=("bleu",))
    with pytest.raises(InputError, match=r"compare\.metric=chrf_pp: 'teacher' was scored by bleu only"):
        run(inputs, tmp_path, ctx)


def test_reference_that_scores_zero_leaves_retention_open(tmp_path: Path, ctx: Context) -> None:
    silent = [""] * len(REFERENCES)
    rows = by_name(run(make_inputs(tmp_path, {"teacher": (12, silent), "pruned": (6, BAD)}), tmp_path, ctx))
    assert rows["pruned"]["retention"] is None
    assert rows["pruned"]["retention_ci"] is None


def test_table_says_which_utterances_were_in_several_splits(tmp_path: Path, ctx: Context) -> None:
    check = Artifact(Kind.CHECK, tmp_path, "check", {"test": 30, "shared": {"selection and test": 17}})
    inputs = make_inputs(tmp_path, {"teacher": (12, GOOD), "pruned": (6, FAIR)})
    stage = STAGE.model_copy(update={"allow_leak": True})
    stage.run({**inputs, "check": check}, tmp_path, ctx)
    for table in ("table.txt", "table.md"):
        assert "selection and test share 17" in (tmp_path / table).read_text(encoding="utf-8")


def test_table_names_the_controls_that_were_left_out(tmp_path: Path, ctx: Context) -> None:
    inputs = make_inputs(tmp_path, {"teacher": (12, GOOD), "pruned": (6, FAIR)})
    STAGE.model_copy(update={"left_out": ("healed-nf4",)}).run(inputs, tmp_path, ctx)
    assert "healed-nf4" in (tmp_path / "table.txt").read_text(encoding="utf-8")


def test_table_says_how_many_utterances_were_translated_in_parts(tmp_path: Path, ctx: Context) -> None:
    inputs = make_inputs(tmp_path, {"teacher": (12, GOOD), "pruned": (6, FAIR)})
    inputs["scores"] = {label: replace(one, facts={"cut_lines": 7}) for label, one in inputs["scores"].items()}
    STAGE.run(inputs, tmp_path, ctx)
    for table in ("table.txt", "table.md"):
        assert "in parts that were cut in pauses: 7 of 30" in (tmp_path / table).read_text(encoding="utf-8")
