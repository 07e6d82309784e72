"""What an artifact is that is there already, and whether the disk has room for one that is to come."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stc.data.manifest import Manifest, SpeechAmount
from stc.errors import StcError
from stc.models import architecture, checked_config, families, read_config
from stc.models.hub import HubModel, HubUnreachable
from stc.models.layout import AdapterSize, FeatureSize, Layout, RemovalCounts
from stc.pipeline.graph import Node
from stc.pipeline.stage import Inputs
from stc.store import Store
from stc.store.artifact import RECORD_FILE, Artifact, Kind
from stc.store.records import read_record
from stc.system.quantities import format_bytes


def describe_artifact(artifact: Artifact) -> Any:
    """What :meth:`stc.pipeline.stage.Stage.forecast` says of artifacts to come, of one that is there."""
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


def describe_folder(kind: Kind, folder: Path) -> Any:
    """Return what :func:`describe_artifact` says of a folder that replaces a stage; None for one without record."""
    record, _ = read_record(folder / RECORD_FILE)
    if record is None and kind is Kind.RANKING:
        return None
    return describe_artifact(Artifact(kind, folder, "", (record or {}).get("facts", {})))


def hub_config(hub: HubModel) -> Mapping[str, Any]:
    """The config.json of a model of the hub: that of this machine's cache, or else the hub's.

    Raises:
        HubUnreachable: it is not on this machine, and the hub cannot be asked.
        InputError: the hub does not give it.
        ModelError: it is of a family that stc does not handle.
    """
    folder = hub.cached()
    if folder is not None and (folder / "config.json").is_file():
        return read_config(folder)
    return checked_config(hub.config(), f"config.json of {hub.id}")


def hub_layout(hub: HubModel) -> Layout | None:
    """A model of the hub, by its config, or where the hub cannot be asked by what is known of the published base; else
    None. Raises InputError and ModelError as :func:`hub_config`."""
    try:
        return Layout.of_config(hub_config(hub))
    except HubUnreachable:
        known_config = (architecture(family).known_config(hub.id) for family in families())
        return next((Layout.of_config(config) for config in known_config if config is not None), None)


def bytes_on_disk(will_be: Any) -> int:
    """Bytes on disk of what a stage will give; 0 for all that is small."""
    if isinstance(will_be, Layout):
        return will_be.weight_bytes + will_be.other_bytes
    return will_be.weight_bytes if isinstance(will_be, AdapterSize | FeatureSize) else 0


def free_disk_space(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def check_disk_space(store: Store, node: Node, inputs: Inputs) -> None:
    """Stop before a stage that will write more than the disk holds, and not hours later.

    Raises:
        StcError: there is no room for its model, adapters or features.
    """
    if node.stage is None or node.kind not in (Kind.MODEL, Kind.ADAPTER, Kind.FEATURES):
        return
    given = {key: one for key, one in inputs.items() if isinstance(one, Artifact)}
    counted = node.kind is Kind.FEATURES  # no other size depends on the data, of which there may be much
    foreseen = node.stage.forecast(
        {
            key: describe_artifact(one) if counted or one.kind is not Kind.MANIFEST else None
            for key, one in given.items()
        }
    )
    wanted, free = bytes_on_disk(foreseen), free_disk_space(store.root)
    if wanted > free:
        raise StcError(
            f"{node.name} will write {format_bytes(wanted)}, and where the store is, {store.root}, "
            f"{format_bytes(free)} are free: free some space (python -m stc.store gc), or name a folder on another "
            "disk (store.dir), and run the same "
            "command again; what was finished is kept"
        )
