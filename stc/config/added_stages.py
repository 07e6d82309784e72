"""Stages that the groups prune and data bring into a pipeline, and controls that a run leaves out.

They change the composed config, before its references are resolved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stc.errors import ConfigError, Fault

MIXTURE = "mixture"


def add_stages(composed: DictConfig) -> bool:
    """Add the stages, and return whether a stage of the pipeline prunes.

    Raises:
        ConfigError: a mixture has no place in this pipeline.
    """
    prunes = _add_ranking_stages(composed)
    _use_one_split_as_dev_and_selection(composed)
    _add_mixture(composed)
    _leave_out_controls(composed)
    return prunes


def _entries(composed: DictConfig) -> dict[str, DictConfig]:
    """Return the entries of ``stages`` that are mappings; the others are reported later."""
    return {str(name): entry for name, entry in composed.stages.items() if isinstance(entry, DictConfig)}


def _add_ranking_stages(composed: DictConfig) -> bool:
    """Move the stages of the pruning method to the others, if one of these prunes. Return whether one does."""
    prunes = any(entry.get("stage") == "prune" for entry in _entries(composed).values())
    ranking_stages = composed.prune.pop("stages", {}) if isinstance(composed.get("prune"), DictConfig) else {}
    if prunes and ranking_stages:
        composed.stages = OmegaConf.merge(ranking_stages, composed.stages)
    return prunes


def _use_one_split_as_dev_and_selection(composed: DictConfig) -> None:
    """Make ``dev`` and ``selection`` one stage if they are one split, since each would be read without the other."""
    dev, selection = (OmegaConf.select(composed, f"data.splits.{name}") for name in ("dev", "selection"))
    if dev is not None and dev == selection and {"dev", "selection"} <= _entries(composed).keys():
        composed.stages.dev = composed.stages.selection


def _add_mixture(composed: DictConfig) -> None:
    """Add the data of ``data.mix`` to those that the last healing trains on.

    Each of them is a manifest ``mix_NAME``, without what is in dev, selection or test. The stage ``mixture`` joins them
    to the data that ``pipeline.mix_with`` names, and replaces these as an input.
    """
    mix = OmegaConf.select(composed, "data.mix")
    names = [str(name) for name, data_set in mix.items() if data_set is not None] if isinstance(mix, DictConfig) else []
    if not names:
        return
    entries = _entries(composed)
    healed_on = OmegaConf.select(composed, "pipeline.mix_with")
    readers = [entry for entry in entries.values() if healed_on in _written_inputs(entry).values()]
    if healed_on is None or not readers:
        raise ConfigError([mixture_fault(names, str(OmegaConf.select(composed, "pipeline.name")))])
    parts = {name: f"mix_{name}" for name in names}
    if faults := list(_name_faults(parts, composed)):
        raise ConfigError(faults)
    for entry in readers:
        for key, source in _written_inputs(entry).items():
            if source == healed_on:
                entry.inputs[key] = MIXTURE
            elif key == "features":  # they are of the data alone
                entry.inputs[key] = None
    added: dict[str, Any] = {stage: _mixed_manifest(name, mix[name]) for name, stage in parts.items()}
    added[MIXTURE] = {
        "stage": "join",
        "from": None,
        "inputs": {"parts": {"data": healed_on, **parts}},
        "weights": {name: f"${{oc.select:data.mix.{name}.weight,1}}" for name in parts},
    }
    if "disjoint" in entries:
        added["disjoint"] = {"inputs": {"splits": {stage: stage for stage in parts.values()}}}
    composed.stages = OmegaConf.merge(composed.stages, added)


def mixture_fault(names: Iterable[str], pipeline: str) -> Fault:
    """Return the fault of a mixture that nothing would be trained on."""
    return Fault("data.mix", ", ".join(names), f"the pipeline {pipeline} heals no model, which could train on it")


def _written_inputs(entry: DictConfig) -> dict[str, Any]:
    inputs = entry.get("inputs")
    found = OmegaConf.to_container(inputs, resolve=False) if isinstance(inputs, DictConfig) else {}
    return {str(key): source for key, source in found.items()} if isinstance(found, dict) else {}


def _name_faults(parts: dict[str, str], composed: DictConfig) -> Iterator[Fault]:
    for name, stage in parts.items():
        if not name.isidentifier() or name == "data":
            yield Fault("data.mix", name, "a name is letters, digits and underscores, and not data")
        elif stage in composed.stages:
            yield Fault("data.mix", name, f"there is a stage {stage} already")


def _mixed_manifest(name: str, data_set: Any) -> dict[str, Any]:
    def setting(key: str, default: Any) -> Any:
        is_set = isinstance(data_set, DictConfig) and key in data_set
        return f"${{data.mix.{name}.{key}}}" if is_set else default

    return {
        "stage": "manifest",
        "from": None,
        "source": setting("source", "json_lines"),
        "path": setting("path", None),
        "split": f"${{data.mix.{name}.splits.train}}",
        "columns": setting("columns", None),
        "limit": setting("limit", None),
        "allow_links": setting("allow_links", False),
        "task": "${stages.train.task}",
        "on_overlap": setting("on_overlap", "refuse"),
        "over_window": setting("over_window", "refuse"),
        "window": "${oc.select:model.window,null}",
        "inputs": {"without": {"dev": "dev", "selection": "selection", "test": "test"}},
    }


def _leave_out_controls(composed: DictConfig) -> None:
    """With ``controls=false``, take the systems that ``pipeline.costly_controls`` names out of every comparison."""
    costly = OmegaConf.select(composed, "pipeline.costly_controls") or []
    if composed.get("controls", True) is not False:
        return
    for entry in _entries(composed).values():
        labels = entry.get("labels")
        models = _written_inputs(entry).get("models")
        if labels is None or not isinstance(models, list):
            continue
        kept = [place for place, model in enumerate(models) if model not in costly]
        written = OmegaConf.to_container(labels, resolve=False)
        assert isinstance(written, list)
        for key, listed in _written_inputs(entry).items():
            if isinstance(listed, list) and len(listed) == len(models):
                entry.inputs[key] = [listed[place] for place in kept]
        entry.labels = [written[place] for place in kept]
        entry.left_out = [label for place, label in enumerate(written) if place not in kept]
