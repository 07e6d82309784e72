"""The size of artifacts that exist and of those to come, and whether the disk has room for them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stc.data.manifest import Manifest, SpeechAmount
from stc.errors import StcError
from stc.models import architecture, checked_config, families, read_config
from stc.models.hub import HubModel
from stc.models.layout import AdapterSize, FeatureSize, Layout, RemovalCounts
from stc.pipeline.graph import Node
from stc.pipeline.stage import Inputs
from stc.store import Store
from stc.store.artifact import RECORD_FILE, Artifact, Kind
from stc.store.records import read_record
from stc.system.hub_files import HubUnreachable
from stc.system.number_formats import format_bytes


def describe_artifact(artifact: Artifact) -> Any:
    """Return what :meth:`stc.pipeline.stage.Stage.forecast` returns for artifacts to come, for one that exists."""
    if artifact.kind is Kind.MODEL:
        return Layout.of_folder(artifact.path)
    if artifact.kind is Kind.ADAPTER:
        return AdapterSize.of_folder(artifact.path)
    if artifact.kind is Kind.FEATURES:
        return FeatureSize(sum(file.stat().st_size for file in artifact.path.glob("*.safetensors")))
    if artifact.kind is Kind.RANKING:
        return RemovalCounts.from_facts(artifact.facts)
    if artifact.kind is Kind.MANIFEST:
        return SpeechAmount.of([row.duration for row in Manifest.load(artifact.path).rows])
    return artifact.facts.get("layers") if artifact.kind is Kind.SIMILARITY else None


def input_forecasts(node: Node, forecasts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the forecasts of a node's inputs, from those of all nodes; of an input with labels, by label."""
    return {
        key: forecasts[target] if isinstance(target, str) else {label: forecasts[one] for label, one in target.items()}
        for key, target in node.inputs.items()
    }


def forecast_node(node: Node, inputs: Mapping[str, Any]) -> Any:
    """Return what a node will be, whatever a store has; None if that is not known, as of a ranking without a record.

    Args:
        inputs: the same of its inputs (:func:`input_forecasts`).
    """
    if node.stage is not None:
        return node.stage.forecast(inputs)
    assert node.source is not None
    if isinstance(node.source, HubModel):
        return hub_layout(node.source)
    record, _ = read_record(node.source / RECORD_FILE)
    if record is None and node.kind is Kind.RANKING:
        return None
    return describe_artifact(Artifact(node.kind, node.source, "", (record or {}).get("facts", {})))


def hub_config(hub: HubModel) -> Mapping[str, Any]:
    """Return the config.json of a model of the hub, from this machine's cache or from the hub.

    Raises:
        HubUnreachable: it is not on this machine, and the hub cannot be asked.
        InputError: the hub does not give it.
        ModelError: stc does not support its family.
    """
    folder = hub.cached()
    if folder is not None and (folder / "config.json").is_file():
        return read_config(folder)
    return checked_config(hub.config(), f"config.json of {hub.id}")


def hub_layout(hub: HubModel) -> Layout | None:
    """Return the layout of a model of the hub by its config. If the hub cannot be asked, use what is known of the
    published base, or return None. Raises InputError and ModelError as :func:`hub_config`."""
    try:
        return Layout.of_config(hub_config(hub))
    except HubUnreachable:
        known = (architecture(family).known_config(hub.id) for family in families())
        return next((Layout.of_config(config) for config in known if config is not None), None)


def bytes_on_disk(forecast: Any) -> int:
    """Return the bytes that an artifact will take on disk; 0 for small ones."""
    if isinstance(forecast, Layout):
        return forecast.weight_bytes + forecast.other_bytes
    return forecast.weight_bytes if isinstance(forecast, AdapterSize | FeatureSize) else 0


def nearest_folder(path: Path) -> Path:
    """Return the folder itself, or the nearest parent that exists."""
    path = path.expanduser().absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def free_disk_space(folder: Path) -> int:
    """Return the bytes that are free where a folder is, or will be."""
    return shutil.disk_usage(nearest_folder(folder)).free


def check_disk_space(store: Store, node: Node, inputs: Inputs) -> None:
    """Stop before a stage that will write more than the disk can hold, and not hours later.

    Raises:
        StcError: there is no room for its model, adapters or features.
    """
    if node.stage is None or node.kind not in (Kind.MODEL, Kind.ADAPTER, Kind.FEATURES):
        return
    described = {
        # Only the size of features depends on the data, and reading a large manifest takes time.
        key: describe_artifact(one) if node.kind is Kind.FEATURES or one.kind is not Kind.MANIFEST else None
        for key, one in inputs.items()
        if isinstance(one, Artifact)
    }
    needed, free = bytes_on_disk(node.stage.forecast(described)), free_disk_space(store.root)
    if needed > free:
        raise StcError(
            f"{node.name} will write {format_bytes(needed)}, and where the store is, {store.root}, "
            f"{format_bytes(free)} are free: free some space (python -m stc.store gc), or name a folder on another "
            "disk (store.dir), and run the same command again; what was finished is kept"
        )
