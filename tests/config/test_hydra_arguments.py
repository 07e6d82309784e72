"""The command line as a whole: options and assignments in any order, and configs of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stc.config.composition import compose_jobs, validate_jobs
from stc.config.hydra_arguments import config_groups, hydra_session, parse_arguments
from stc.config.job_names import parse_assignment as read
from stc.config.override_checks import check_arguments, expand_jobs, is_sweep, split_plan_option
from stc.config.plan import Plan
from stc.errors import ConfigError
from stc.models import architecture
from stc.models.hub import HubModel
from stc.planning.preflight import check_jobs
from stc.system.paths import CONF, ROOT


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STC_ROOT", str(ROOT))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Configs of one's own: a language, a quantizer's settings, and an experiment that is a sweep."""
    members = {
        "lang/fr": {"code": "fr", "name": "French", "metric": "chrf_pp"},
        "quant/single": {"defaults": ["nf4"], "double_quant": False},
        "experiments/swept": {"hydra": {"mode": "MULTIRUN", "sweeper": {"params": {"lang": "de,fr"}}}},
    }
    for name, content in members.items():
        file = tmp_path / f"{name}.yaml"
        file.parent.mkdir()
        file.write_text("# @package _global_\n" * name.startswith("experiments") + OmegaConf.to_yaml(content))
    return tmp_path


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that has every model."""
    published = architecture("qwen2_audio").known_config("Qwen/Qwen2-Audio-7B-Instruct")
    monkeypatch.setattr(HubModel, "config", lambda hub: published)


MODEL = ["model=qwen2_audio_7b", "data=talks", "prune.ratio=0.25"]  # a model whose folder need not be there


def plan(*arguments: str) -> Plan:
    (job,) = compose_jobs(check_arguments([*MODEL, *arguments]))
    return job.plan


def faults(*arguments: str) -> list[str]:
    try:
        jobs = compose_jobs(check_arguments([*MODEL, *arguments]))
        check_jobs([job.plan for job in jobs], running=True)
    except ConfigError as error:
        return [str(fault) for fault in error.faults]
    return []


def test_options_may_stand_between_assignments() -> None:
    arguments = check_arguments(["seed=1", "-m", "lang=de,zh"])
    assert is_sweep(arguments)
    assert len(expand_jobs(arguments)) == 2
    assert parse_arguments(arguments).overrides == ["++seed=1", "lang=de,zh"]


@pytest.mark.parametrize("way", ["--multirun", "--multi"])
def test_option_of_a_sweep_may_be_spelled_out(way: str) -> None:
    assert check_arguments([way, "lang=de,zh"]) == check_arguments(["-m", "lang=de,zh"])


@pytest.mark.parametrize("way", ["-m", "hydra.mode=MULTIRUN"])
def test_sweep_is_one_however_it_is_asked_for(way: str) -> None:
    arguments = check_arguments([way, *MODEL, "prune.ratio=0.25,0.26"])
    assert is_sweep(arguments)
    assert len(expand_jobs(arguments)) == 2
    with pytest.raises(ConfigError, match=r"^.*prune\.ratio=0\.26: "):
        validate_jobs(arguments)


def test_sweep_of_a_config_is_written_out(own: Path) -> None:
    arguments, _ = validate_jobs(check_arguments([f"--config-dir={own}", "experiments=swept", *MODEL]))
    assert is_sweep(arguments)
    assert [job[0] for job in expand_jobs(arguments)] == ["lang=de", "lang=fr"]


@pytest.mark.parametrize(
    "params",
    ['hydra.sweeper.params={lang: "de,zh"}', '+hydra.sweeper.params.lang="de,zh"', "hydra.sweeper.params.lang=de,zh"],
)
def test_parameters_of_the_sweeper_are_judged_like_any_assignment(params: str) -> None:
    assert [job[0] for job in expand_jobs(check_arguments(["-m", params]))] == ["lang=de", "lang=zh"]
    assert expand_jobs(check_arguments(["-m", params, "lang=de"])) == [["lang=de"]]
    (fault,) = faults("-m", params.replace("zh", "fr"))
    assert fault.startswith("lang=fr")


@pytest.mark.parametrize("value", ["'zh'", '"zh"', "${oc.env:NO_SUCH_LANGUAGE,zh}"])
def test_member_of_a_group_is_what_hydra_reads(value: str) -> None:
    assert plan(f"lang={value}").config.lang.code == "zh"


@pytest.mark.parametrize("values", ["choice(de,zh)", "de, zh", "'de',zh", "glob(*)", "sort(zh,de)"])
def test_members_swept_over_are_what_hydra_reads(values: str) -> None:
    arguments = check_arguments(["-m", f"lang={values}"])
    with hydra_session(parse_arguments(arguments)) as hydra:
        assert [read(job[0]) for job in expand_jobs(arguments, hydra.config_loader)] == [("lang", "de"), ("lang", "zh")]


def test_member_that_an_interpolation_does_not_come_to_is_told() -> None:
    (fault,) = faults("lang=${oc.env:NO_SUCH_LANGUAGE,xx}")
    assert fault.startswith("lang=")
    assert "de zh" in fault


def test_members_of_ones_own_are_known(own: Path) -> None:
    added = f"--config-dir={own}"
    assert plan(added, "lang=fr", "quant=single").config.lang.name == "French"
    assert plan("-cd", str(own), "quant=single").config.quant["double_quant"] is False
    assert "fr" in config_groups(parse_arguments([added]))["lang"]
    assert plan(f"hydra.searchpath=[file://{own}]", "lang=fr").config.lang.name == "French"
    (fault,) = faults(added, "lang=it")
    assert "de, fr, zh" in fault
    (fault,) = faults("lang=fr")
    assert "de, zh" in fault


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config-dir=/no/such/folder"], "--config-dir=/no/such/folder"),
        (["-m", "--cfg", "job"], "only one"),
        (["--resolve"], "--cfg"),
        (["größe=1"], "größe=1"),
        (["data.path=\udcff"], "data.path"),
        (["hydra.run=3"], "hydra.run=3"),
    ],
)
def test_what_hydra_cannot_do_is_a_fault(arguments: list[str], told: str) -> None:
    (fault,) = faults(*arguments)
    assert told in fault


@pytest.mark.parametrize("arguments", [["--info", "config"], ["-i", "searchpath"], ["--info"], ["--cfg", "job"]])
def test_option_with_its_value_is_no_assignment(arguments: list[str]) -> None:
    assert check_arguments([*arguments[:2]])[0].startswith(("--info", "--cfg"))


@pytest.mark.parametrize(("given", "asked"), [("plan=true", True), ("plan=True", True), ("plan=false", False)])
def test_plan_is_taken_out_of_the_arguments(given: str, asked: bool) -> None:
    assert split_plan_option([given, "-m", "seed=1"]) == (asked, ["-m", "seed=1"])
    assert split_plan_option(["seed=1"]) == (False, ["seed=1"])
    with pytest.raises(ConfigError, match="plan=maybe"):
        split_plan_option(["plan=maybe"])


def test_home_folder_is_meant_by_a_tilde_wherever_a_folder_is_named(monkeypatch: pytest.MonkeyPatch, own: Path) -> None:
    monkeypatch.setenv("HOME", str(own))
    (own / "config.json").write_text('{"model_type": "qwen2_audio", "text_config": {}, "audio_config": {}}')
    found = plan("data.path=~/data", "store.dir='~/store'", "tracking.unsent=~", "stages.teacher.from=~/lang")
    config = found.config
    assert [config.data.path, config.store.dir, config.tracking.unsent] == [own / "data", own / "store", own]
    assert found.pipeline.nodes["teacher"].source == own / "lang"
    train = found.pipeline.nodes["train"].stage
    assert train is not None
    assert train.model_dump()["path"] == own / "data"


@pytest.mark.parametrize("value", ["", "' '"])
def test_empty_name_of_a_folder_is_refused(value: str) -> None:
    keys = ["data.path", "model.path", "stages.teacher.from", "store.dir", "tracking.unsent"]
    for key, fault in zip(keys, sorted(faults(*(f"{key}={value}" for key in keys))), strict=True):
        assert fault.startswith(f"{key}=")
        assert "empty" in fault


def test_folder_that_is_not_there_is_a_hub_id_unless_it_must_be_a_path(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own)
    keys = ["model.path", "stages.teacher.from"]

    def told(path: str) -> list[str]:
        return sorted(faults(*(f"{key}={path}" for key in keys), "model.decoder_layers=32"))

    assert told("owner/name") == []
    for path in (
        "./owner/name",
        "lang/name",
        "owner/of/name",
        "name",
        "~/name",
        "lang/fr.yaml",
        "owner/na--me",
        "owner/name.git",
    ):
        for key, fault in zip(keys, told(path), strict=True):
            assert fault.startswith(f"{key}={path}:")
    (own / "models" / "teacher").mkdir(parents=True)
    for key, fault in zip(keys, told("models/techer"), strict=True):
        assert fault.startswith(key)
        assert "did you mean 'models/teacher'" in fault


@pytest.mark.parametrize("member", ["disabled", "none", "stdout", "default"])
def test_job_s_log_may_be_another_of_hydra_s(member: str) -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        own = [f"hydra/job_logging={member}", "hydra.job.name=run", "hydra.runtime.output_dir=/nowhere"]
        logging = compose("config", own, return_hydra_config=True).hydra.job_logging
    assert all("class" in handler for handler in logging.get("handlers", {}).values())


def test_a_prefix_in_the_sweeper_s_parameters_ends_in_a_sweep(tmp_path: Path) -> None:
    experiment = tmp_path / "experiments" / "swept.yaml"
    experiment.parent.mkdir()
    experiment.write_text('# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {++seed: "1,2"}}}\n')
    arguments, _ = validate_jobs(check_arguments([f"--config-dir={tmp_path}", "experiments=swept", *MODEL]))
    assert [job[0] for job in expand_jobs(arguments)] == ["++seed=1", "++seed=2"]
