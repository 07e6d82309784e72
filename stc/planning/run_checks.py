"""Checks of what a run with given settings reads and makes: its config, models, data, and files of the hub.

Each says what it found, and what to do if that is not enough. Nothing is computed, and no store is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from stc.config.composition import ComposedJob, compose_jobs
from stc.config.override_checks import check_arguments
from stc.config.plan import Plan
from stc.config.schema import Config
from stc.data.sources import SourceSettings
from stc.errors import ConfigError, StcError
from stc.models.folder import ModelFolder
from stc.models.hub import HubModel
from stc.models.language_pair import Task
from stc.models.prompts import load_processor
from stc.planning.downloads import needed_of_hub
from stc.planning.machine_checks import Check, Status
from stc.planning.planned_jobs import bytes_to_write, plan_jobs
from stc.planning.preflight import collect_notes, data_faults, hub_faults
from stc.quantization import Quantizer
from stc.stages.manifest import Manifest
from stc.stages.quantize import Quantize
from stc.store.artifact import Kind
from stc.system.number_formats import format_bytes
from stc.system.paths import set_root_variable
from stc.training.fine_tuning import FineTuning


def check_config(settings: Sequence[str], jobs: list[ComposedJob]) -> Iterator[Check]:
    """Compose and validate the settings as a run does, and add the jobs to ``jobs``."""
    set_root_variable()
    try:
        jobs += compose_jobs(check_arguments(settings))
    except ConfigError as error:
        for fault in error.faults:
            yield Check("FAIL", "config", str(fault))
        return
    yield Check("OK", "config", " ".join(settings) or "the defaults")


def used_quantizers(plan: Plan) -> list[Quantizer]:
    """Return the quantizers of a run: for models that it makes, and for bases of adapters during training."""
    stages = [plan.pipeline.nodes[name].stage for name in plan.pipeline.required_nodes()]
    made = [stage.quant for stage in stages if isinstance(stage, Quantize)]
    trained = [stage.base_quantizer for stage in stages if isinstance(stage, FineTuning) and stage.base_quantizer]
    return list({repr(quantizer): quantizer for quantizer in (*made, *trained)}.values())


def check_models(plan: Plan) -> Iterator[Check]:
    """Check the models that the run is given: the base, and those that replace a stage."""
    faults = {str(fault.value): fault for found in hub_faults([plan]) for fault in found}
    yield from (Check("FAIL", "model", str(fault)) for fault in faults.values())
    nodes = (plan.pipeline.nodes[name] for name in plan.pipeline.required_nodes())
    given = [node.source for node in nodes if node.kind is Kind.MODEL and node.source is not None]
    for source in dict.fromkeys(source.id if isinstance(source, HubModel) else str(source) for source in given):
        if source not in faults:
            yield from _check_model(Path(source), plan.config)


def _check_model(folder: Path, config: Config) -> Iterator[Check]:
    """Check a model's files, by their headers, and the prompt that its chat template makes."""
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
        prompt = model.family.prompt(load_processor(folder, model.family), _task(config), folder)
    except StcError as error:
        yield Check("FAIL", "prompt", str(error))
        return
    yield Check("OK", "prompt", f"{len(prompt)} characters, with a place for the audio")


def check_offline(jobs: Sequence[ComposedJob]) -> Iterator[Check]:
    """Check that what the run reads of the Hugging Face hub is on this machine."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    status: Status = "FAIL" if HF_HUB_OFFLINE else "WARN"
    how = "python -m stc.pull with these settings fetches it"
    needed, unknown = needed_of_hub([job.plan for job in jobs])
    told = {str(fault.value) for found in hub_faults([jobs[0].plan]) for fault in found}  # by the check of models
    for one in needed:
        if one.is_here():
            yield Check("OK", "offline", f"{one.what} {one.name} is in the hub's cache")
        elif one.id not in told:
            yield Check(status, "offline", f"{one.what} {one.name} is not complete in the hub's cache: {how}")
    for fault in unknown:
        yield Check(status, "offline", str(fault))
    if not needed and not unknown:
        yield Check("OK", "offline", "nothing is read of the Hugging Face hub")


def _task(config: Config) -> Task:
    return Task(target_lang=config.lang.code, target_name=config.lang.name)


def bytes_of_models(composed: Sequence[ComposedJob]) -> int | None:
    """Return the bytes of the models that the run will make; None if base or data are not there."""
    try:
        jobs = plan_jobs(composed)
    except (StcError, OSError):  # reported by the other checks
        return None
    models = [one for job in jobs for one in job.steps if one.runs and one.node.kind in (Kind.MODEL, Kind.ADAPTER)]
    return None if any(one.forecast is None for one in models) else bytes_to_write(jobs)


def check_data(plan: Plan) -> Iterator[Check]:
    """Read the first utterance of every split, and look for what in the data would stop the run later."""
    config = plan.config
    fields = {key: getattr(config.data, key) for key in SourceSettings.model_fields}
    for split in config.data.splits.model_dump().values():
        try:
            Manifest(**fields, split=split, task=_task(config), limit=1).in_place()
        except StcError as error:
            yield Check("FAIL", "data", str(error))
            return
    name = config.data.path or config.data.source["name"]
    yield Check("OK", "data", f"{name}: the first utterance of every split can be read")
    for fault in data_faults([plan]):
        yield Check("FAIL", "data", str(fault))
    for note in collect_notes([plan]):
        yield Check("WARN", "run", note)
