"""What a result is known by stays as it is: every shipped config gives the stages the identities that are on record.

A store is worth its size as long as a later version of stc finds in it what an earlier one made. The record is
``tests/identities.json``. It may change where a result does, by a stage's VERSION or its settings, and only there:
``python tests/test_identities.py`` writes it anew, and its diff says which stages it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from segments_folder import write_segments

from stc.config.hydra_arguments import config_groups
from stc.config.override_checks import check_arguments
from stc.config.plan import Plan, make_plan
from stc.pipeline.stage import Context
from stc.planning.dry_run import DryRun, Environments
from stc.store import Store
from stc.store.artifact import Artifact, Kind
from stc.system.paths import CONF, ROOT

RECORD = Path(__file__).with_name("identities.json")
DIGITS = 12
REMOVED = {"layers_removed": [2, 5], "encoder_layers_removed": [1]}
"""What every search of layers is said to have found; the stages after it are known by that."""
COMMIT = f"data.source.revision={'a' * 40}"  # with it, data of the hub are known without being read
NEEDED = {
    "prune=explicit": ["prune.layers=[2,5]", "prune.encoder_layers=[3]"],
    "metrics=comet": ["metrics.comet.python=/bin/true"],  # stands in for its environment
    "data=hub": [COMMIT, "data.source.dataset=owner/name"],
    "data=segments": ["data.path=${oc.env:SEGMENTS}"],  # a folder that is made here
    **{f"data={name}": [COMMIT] for name in ("acl6060", "acl6060_official", "acl6060_published", "covost2", "fleurs")},
    "experiments=model_b": ["data.mix.covost2=null"],
}
"""What a member of a group needs beside itself."""
PUBLISHED = ["data=talks", "prune.ratio=0.25"]
"""What the published model is asked for with: it has no data of its own."""
MACHINE = {"machine": "any"}

pytestmark = pytest.mark.skipif(
    not (ROOT / "assets" / "base" / "config.json").exists(), reason="the shipped base model is not in this checkout"
)


def commands() -> Iterator[list[str]]:
    """Every member of every group for itself, every experiment in every language, every scope of pruning."""
    os.environ["STC_ROOT"] = str(ROOT)
    for group, names in config_groups().items():
        for name in names:
            choice = f"{group}={name}"
            if group == "experiments":
                more = [] if name.startswith("talks") else [*PUBLISHED, *NEEDED.get(choice, [])]
                yield from ([choice, f"lang={lang}", *more] for lang in config_groups()["lang"])
            else:
                yield [choice, *NEEDED.get(choice, []), *(PUBLISHED if name == "qwen2_audio_7b" else [])]
    for name in config_groups()["prune"]:
        if name != "explicit":  # names the layers, and so the stack
            yield from ([f"prune={name}", f"prune.scope={scope}"] for scope in ("encoder", "both"))
    yield ["experiments=model_b", *PUBLISHED, f"data.mix.covost2.source.revision={'b' * 40}"]
    for recipe in config_groups()["finetune"]:
        yield [f"finetune@teacher={recipe}"]


class Prepared(Store):
    """A store in which every choice of layers has been made, so that what follows is known for good."""

    def inspect(self, kind: Kind, identity: str) -> tuple[Artifact | None, str]:
        if kind is Kind.RANKING:
            return Artifact(kind, self.path(kind, identity), identity, REMOVED), ""
        return super().inspect(kind, identity)


def defaults() -> set[str]:
    """The choices that are made where a command makes none."""
    listed = OmegaConf.load(CONF / "config.yaml")["defaults"]
    return {f"{group}={name}" for one in listed if isinstance(one, DictConfig) for group, name in one.items()}


@cache
def planned(*choices: str) -> Plan:
    with initialize_config_dir(str(CONF), version_base=None):
        return make_plan(compose("config", check_arguments(choices)))


def identities(command: list[str], folder: Path, known: Environments) -> dict[str, str]:
    """Return the identity of every stage that a command needs, by its name.

    A model of the hub is not fetched; what is made from it is known by its name.
    """
    plan = planned(*(one for one in command if one not in defaults()))
    context = Context("cpu", 0, 1, 1, folder, lambda *_, **__: None, lambda *_, **__: None)  # type: ignore[arg-type]
    steps = DryRun(plan.pipeline, Prepared(folder), context, environments=known).steps()
    return {step.name: step.identity[:DIGITS] for step in steps}


def make_segments(folder: Path) -> None:
    """Make the data that stand in for talks with lists of their segments."""
    write_segments(folder)
    os.environ["SEGMENTS"] = str(folder)


def recorded() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(RECORD.read_text())
    return found


@pytest.fixture(scope="module")
def known() -> Environments:
    """What the stages' environments gave, for all commands: they read the same files."""
    return {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True, scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> None:
    make_segments(tmp_path_factory.mktemp("segments"))


@pytest.fixture(autouse=True)
def any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement is known by its machine, which is another one here."""
    monkeypatch.setattr("stc.stages.measure.fingerprint", lambda: MACHINE)
    monkeypatch.setenv("STC_ROOT", str(ROOT))


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_stages_have_the_identities_on_record(command: list[str], folder: Path, known: Environments) -> None:
    assert identities(command, folder, known) == recorded()[" ".join(command)]


def test_record_is_of_every_command_and_of_no_other() -> None:
    assert recorded().keys() == set(map(" ".join, commands()))


def _write() -> None:
    known: Environments = {}
    fingerprint = mock.patch("stc.stages.measure.fingerprint", return_value=MACHINE)
    with fingerprint, TemporaryDirectory() as segments, TemporaryDirectory() as folder:
        make_segments(Path(segments))
        found = {" ".join(command): identities(command, Path(folder), known) for command in commands()}
    RECORD.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    _write()
