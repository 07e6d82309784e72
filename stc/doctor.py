"""``python -m stc.doctor [GROUP=MEMBER] [KEY=VALUE] …``: what a run with these settings would fail on."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stc.config.command_line import check_arguments
from stc.config.composition import compose_jobs
from stc.errors import ConfigError, StcError, first_line
from stc.models.hub import HubModel
from stc.planning import machine_checks
from stc.planning.machine_checks import Check
from stc.store.artifact import Kind
from stc.system.console import run_command
from stc.system.paths import ROOT
from stc.system.quantities import format_bytes

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from stc.config.plan import Plan
    from stc.config.schema import Config
    from stc.quantization import Quantizer

_DESCRIPTION = """\
Try out what a run needs of this machine, one line a check: OK, WARN (works, with a limit) or FAIL, and what to do.
Takes the settings of python -m stc.run, and checks what a run with them would use. The exit code is 1 where something
would fail."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check; 0, or 1 where a run would fail."""
    parser = argparse.ArgumentParser(prog="python -m stc.doctor", description=_DESCRIPTION)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="as python -m stc.run takes them")
    parser.add_argument(
        "--config-dir", metavar="FOLDER", help="more members of the groups, as python -m stc.run takes it"
    )
    return run_command(lambda: _asked(parser.parse_args(arguments)))


def _asked(options: argparse.Namespace) -> int:
    more = [f"--config-dir={options.config_dir}"] if options.config_dir else []
    return _examine([*more, *options.settings])


def _examine(settings: Sequence[str]) -> int:
    counts: Counter[str] = Counter()

    def show(about: str, found: Callable[[], Iterator[Check]]) -> None:
        try:
            for check in found():
                counts[check.status] += 1
                print(f"{check.status:4}  {check.about:18} {' '.join(check.found.split())}", flush=True)
        except Exception as error:  # what a check cannot even try is an answer, too
            counts["FAIL"] += 1
            print(f"FAIL  {about:18} {type(error).__name__}: {first_line(error)}", flush=True)

    show("python", machine_checks.check_python)
    show("libraries", machine_checks.check_libraries)
    show("audio", machine_checks.check_audio_formats)
    composed: list[tuple[DictConfig, Plan]] = []
    show("config", partial(_config, settings, composed))
    device: Literal["auto", "cpu", "cuda"] = composed[0][1].config.resources.device if composed else "auto"
    show("devices", partial(machine_checks.check_devices, device, _quantizers(composed[0][1]) if composed else []))
    if composed:
        config = composed[0][1].config
        show("model", partial(_models, composed[0][1]))
        show("data", partial(_data, composed[0][1]))
        show("store", partial(machine_checks.check_store, config.store.dir, _to_write(composed)))
        if config.tracking.enabled:
            show("mlflow", partial(machine_checks.check_tracking, config.tracking.uri))
    if counts["FAIL"]:
        print(f"\n{counts['FAIL']} of {counts.total()} checks failed: a run would fail")
        return 1
    print(f"\nnothing that a run needs is missing{', see the warnings' if counts['WARN'] else ''}")
    return 0


def _config(settings: Sequence[str], composed: list[tuple[DictConfig, Plan]]) -> Iterator[Check]:
    """The settings, composed and validated as a run does; what they come to goes into ``composed``."""
    os.environ["STC_ROOT"] = str(ROOT)
    try:
        composed += [(job.config, job.plan) for job in compose_jobs(check_arguments(settings))]
    except ConfigError as error:
        for fault in error.faults:
            yield Check("FAIL", "config", str(fault))
        return
    yield Check("OK", "config", " ".join(settings) or "the defaults")


def _quantizers(plan: Plan) -> list[Quantizer]:
    """Return what a run packs by: models that it makes, and bases of adapters while they are trained."""
    from stc.stages.quantize import Quantize
    from stc.training.fine_tuning import FineTuning

    stages = [plan.pipeline.nodes[name].stage for name in plan.pipeline.required_nodes()]
    made = [stage.quant for stage in stages if isinstance(stage, Quantize)]
    trained = [stage.base_quantizer for stage in stages if isinstance(stage, FineTuning) and stage.base_quantizer]
    return list({repr(quantizer): quantizer for quantizer in (*made, *trained)}.values())


def _models(plan: Plan) -> Iterator[Check]:
    """The models that the run is given, and no other: the base, or what stands in for a stage."""
    from stc.planning import preflight as ahead

    faults = {str(fault.value): fault for found in ahead.hub_faults([plan]) for fault in found}
    yield from (Check("FAIL", "model", str(fault)) for fault in faults.values())
    nodes = (plan.pipeline.nodes[name] for name in plan.pipeline.required_nodes())
    given = [node.source for node in nodes if node.kind is Kind.MODEL and node.source is not None]
    for source in dict.fromkeys(source.id if isinstance(source, HubModel) else str(source) for source in given):
        if source not in faults:
            yield from _model(Path(source), plan.config)


def _model(folder: Path, config: Config) -> Iterator[Check]:
    """A model's files, by their headers, and the prompt that its chat template makes."""
    from stc.models.folder import ModelFolder
    from stc.models.prompts import load_processor
    from stc.models.task import Task

    if not folder.is_dir():
        yield Check("WARN", "model", f"{folder} is no folder here: a hub id, which is fetched when it is first needed")
        return
    try:
        model = ModelFolder.of(folder)
    except StcError as error:
        yield Check("FAIL", "model", str(error))
        return
    yield Check("OK", "model", f"{folder}: {len(model.tensors)} tensors, {format_bytes(model.weight_bytes)}")
    try:
        processor = load_processor(folder, model.family)
        task = Task(target_lang=config.lang.code, target_name=config.lang.name)
        prompt = model.family.prompt(processor, task, folder)
    except StcError as error:
        yield Check("FAIL", "prompt", str(error))
        return
    yield Check("OK", "prompt", f"{len(prompt)} characters, with a place for the audio")


def _to_write(composed: Sequence[tuple[DictConfig, Plan]]) -> int | None:
    """Bytes of the models that the run is going to make; None where base or data are not at hand to tell."""
    from stc.planning.jobs import bytes_to_write, plan_jobs

    try:
        jobs = plan_jobs(composed, [""])
    except (StcError, OSError):  # which the other checks tell
        return None
    models = [one for job in jobs for one in job.steps if one.runs and one.step.node.kind in (Kind.MODEL, Kind.ADAPTER)]
    return None if any(one.forecast is None for one in models) else bytes_to_write(jobs)


def _data(plan: Plan) -> Iterator[Check]:
    """The first utterance of every split, and what of the data would stop the run later."""
    from stc.data.sources import SourceSettings
    from stc.models.task import Task
    from stc.planning import preflight as ahead
    from stc.stages.manifest import Manifest

    config = plan.config
    for split in config.data.splits.model_dump().values():
        first = Manifest(
            **{key: getattr(config.data, key) for key in SourceSettings.model_fields},
            split=split,
            task=Task(target_lang=config.lang.code, target_name=config.lang.name),
            limit=1,
        )
        try:
            first.in_place()
        except StcError as error:
            yield Check("FAIL", "data", str(error))
            return
    named = config.data.path or config.data.source["name"]
    yield Check("OK", "data", f"{named}: the first utterance of every split can be read")
    for fault in ahead.data_faults([plan]):
        yield Check("FAIL", "data", str(fault))
    for note in ahead.collect_notes([plan]):
        yield Check("WARN", "run", note)


if __name__ == "__main__":
    sys.exit(main())
