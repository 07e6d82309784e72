"""The jobs of a command, with what each finds, shares with earlier jobs, and has to make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stc.pipeline.graph import Pipeline
from stc.pipeline.keep import Keep, needs_of
from stc.planning.disk import bytes_on_disk, describe_artifact, forecast_node, input_forecasts
from stc.planning.dry_run import DryRun, Environments, PlannedStep, StepState
from stc.store import Store
from stc.store.artifact import WEIGHTS
from stc.store.needs import Needs, joined
from stc.system.machine import resolve_device

if TYPE_CHECKING:
    from stc.config.composition import ComposedJob
    from stc.config.plan import Plan
    from stc.config.schema import Config


@dataclass(frozen=True)
class PlannedJob:
    """A job, or one seed of a job with several.

    Attributes:
        name: has the number of its folder in multirun/.
        provisional: what is known of the steps with provisional identities, by these.
    """

    name: str
    title: str
    config: Config
    steps: Sequence[PlannedStep]
    pipeline: Pipeline
    provisional: Mapping[str, Mapping[str, Any]]

    def needs(self, keep: Keep) -> Needs:
        """Return what it needs of the store, if it keeps all or the final models."""
        identities = {step.name: step.identity for step in self.steps}
        return needs_of(self.pipeline, identities, keep, self.provisional)

    @property
    def device(self) -> str:
        return device_for(self.config)


def plan_jobs(composed: Sequence[ComposedJob]) -> list[PlannedJob]:
    """Plan each job as it will find the store after the jobs before it."""
    made: dict[str, tuple[str, str]] = {}
    environments: Environments = {}
    forecasts: dict[str, Any] = {}
    jobs = []
    for name, title, plan in _with_each_seed(composed):
        config = plan.config
        context = config.resources.context(device_for(config))
        dry_run = DryRun(plan.pipeline, Store(config.store.dir), context, force=config.force, environments=environments)
        steps = list(_with_forecasts(dry_run.steps(), name, made, forecasts))
        provisional = dry_run.provisional_specs()
        jobs.append(PlannedJob(name, title, config, steps, plan.pipeline, provisional))
    return jobs


def bytes_to_write(jobs: Sequence[PlannedJob]) -> int:
    """Return the bytes of the models, adapters and features to be made."""
    return sum(bytes_on_disk(one.forecast) for job in jobs for one in job.steps if one.runs)


def peak_bytes_to_write(jobs: Sequence[PlannedJob]) -> int:
    """Return the most bytes of models, adapters and features to be made that the store has at a time with
    ``store.keep=final``, if the jobs run one after the other."""
    needs = joined([job.needs("final") for job in jobs])
    there = {one.identity for job in jobs for one in job.steps if one.state is StepState.CACHED}
    made: dict[str, int] = {}
    peak = 0
    for step in (one for job in jobs for one in job.steps if one.runs):
        there.add(step.identity)
        made[step.identity] = bytes_on_disk(step.forecast)
        peak = max(peak, sum(made.values()))
        needed = needs.still_needed(there)
        dropped = {one for one in made if needs.results[one].kind in WEIGHTS and one not in needed}
        there -= dropped
        made = {one: size for one, size in made.items() if one not in dropped}
    return peak


def device_for(config: Config) -> str:
    """Return the device of a run. A GPU asked for by name need not exist: a plan may be for another machine."""
    device = config.resources.device
    return "cuda" if device == "cuda" else resolve_device(device, config.resources.processes)


def _with_each_seed(composed: Sequence[ComposedJob]) -> Iterator[tuple[str, str, Plan]]:
    """Yield name, title and plan of every job and seed. The title has the overrides in which jobs differ; for a single
    job, all of them."""
    from stc.config.plan import make_plan

    common = set.intersection(*(set(job.overrides) for job in composed)) if len(composed) > 1 else set()
    for number, job in enumerate(composed):
        title = " ".join(one.lstrip("+") for one in job.overrides if one not in common) or "the defaults"
        if not job.plan.config.seeds:
            yield f"job {number}", title, job.plan
        for seed in job.plan.config.seeds:
            config = job.config.copy()
            config.seed, config.seeds = seed, []
            yield f"job {number} seed {seed}", title, make_plan(config)


def _with_forecasts(
    steps: Sequence[PlannedStep], job: str, made: dict[str, tuple[str, str]], forecasts: dict[str, Any]
) -> Iterator[PlannedStep]:
    """Yield the steps of a job with their forecasts, and with what they share.

    Args:
        made: the job and step that make an identity first; this function adds to it.
        forecasts: the forecasts by identity, which jobs share; this function adds to it.
    """
    here: dict[str, Any] = {}
    for step in steps:
        inputs = input_forecasts(step.node, here)
        if step.state is not StepState.UNNEEDED and step.identity not in forecasts:
            found = step.artifact
            forecasts[step.identity] = describe_artifact(found) if found else forecast_node(step.node, inputs)
        here[step.name] = None if step.state is StepState.UNNEEDED else forecasts[step.identity]
        shared = ""
        if step.state is StepState.RUN:
            first_job, name = made.setdefault(step.identity, (job, step.name))
            shared = first_job if first_job != job else name if name != step.name else ""
        yield replace(step, forecast=here[step.name], inputs=inputs, shared=shared)
