"""The result to export: its folder, its form, and the store it is in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stc.errors import InputError, suggestion
from stc.models import read_config
from stc.models.weights import ADAPTER_CONFIG, attached_adapter
from stc.quantization import quantizer_of
from stc.store import Store
from stc.store.artifact import Kind
from stc.store.identity import is_identity
from stc.store.location import is_store
from stc.store.lookup import resolve_artifact
from stc.store.run_result import RESULT_FILE, Result
from stc.system.paths import ROOT, expand_home
from stc.system.read_files import read_json, read_yaml

MIX = "data.mix"
"""The key of a run's config under which further data are, by name."""

ExportForm = Literal["merged", "quantized", "adapter"]
"""``merged`` is a plain bfloat16 model, with any trained adapters merged into it."""


@dataclass(frozen=True)
class ExportSource:
    """A result to export.

    Attributes:
        store: the store that the folder is in, or None.
        run: dotted key → value of the run's config, if the result was named by its run.
    """

    folder: Path
    form: ExportForm
    store: Store | None = None
    run: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return Kind.ADAPTER if self.form == "adapter" else Kind.MODEL

    @property
    def record(self) -> dict[str, Any]:
        """The store's record of it; empty for a folder that is not in a store."""
        record = self.store.record(self.kind, self.folder.name) if self.store else None
        return record or {}

    @property
    def model_input(self) -> str | None:
        """The identity of the model it was made from."""
        identity: str | None = self.record.get("spec", {}).get("inputs", {}).get("model")
        return identity

    def plain(self) -> ExportSource:
        """Return the model that a quantized one was packed from.

        Raises:
            InputError: the store no longer has it, the folder is in no store, or an adapter belongs to it.
        """
        if attached_adapter(self.folder):
            raise InputError(
                f"{self.folder} has an adapter that was trained on quantized weights: it has no plain form"
            )
        if self.store is None or self.model_input is None:
            raise InputError(f"{self.folder} is quantized and in no store, so its bfloat16 weights are not available")
        return ExportSource(_verified(self.store, Kind.MODEL, self.model_input), "merged", self.store, self.run)


def find_source(path: Path, system: str | None) -> ExportSource:
    """Return the result that a user means by ``path``: a model or adapter folder, its identity, or the folder of a run.

    Raises:
        InputError: there is none, or the run has no such system.
        ModelError: config.json is damaged, or names a quantization method that stc does not know.
    """
    path = resolve_artifact(path, Kind.MODEL, Kind.ADAPTER)
    folder, run = path, {}
    if (path / RESULT_FILE).is_file():
        folder, run = _system_folder(path, system), _run_config(path)
    elif system is not None:
        raise InputError(f"--system {system}: {path} is not the folder of a run: it has no {RESULT_FILE}")
    folder = folder.resolve()
    root = folder.parent.parent
    in_store = is_identity(folder.name) and folder.parent.name in list(Kind) and is_store(root)
    if in_store and not folder.exists():
        _verified(Store(root), Kind(folder.parent.name), folder.name)
    if (folder / ADAPTER_CONFIG).is_file():
        form: ExportForm = "adapter"
    elif (folder / "config.json").is_file():
        form = "merged" if quantizer_of(read_config(folder)) is None else "quantized"
    else:
        raise InputError(
            f"{path} cannot be exported: a folder with config.json (a model), {ADAPTER_CONFIG} (an adapter) or "
            f"{RESULT_FILE} (a run) is needed"
        )
    source = ExportSource(folder, form, None, run)
    if not in_store or folder.parent.name != source.kind.value:
        return source
    store = Store(root)
    return ExportSource(_verified(store, source.kind, folder.name), form, store, run)


def _verified(store: Store, kind: Kind, identity: str) -> Path:
    artifact, why = store.get(kind, identity)
    if artifact is None:
        raise InputError(
            f"{store.path(kind, identity)}: {why}; a run that has it among its pipeline.outputs makes it again"
        )
    return artifact.path


def _system_folder(path: Path, name: str | None) -> Path:
    try:
        systems = read_json(path / RESULT_FILE, Result)["systems"]
        folders = {row["name"]: Path(row["model_dir"]) for row in systems}
    except KeyError:
        raise InputError(f"{path / RESULT_FILE} is of several seeds: name the folder of one, {path}/seed1") from None
    if not folders:
        raise InputError(f"the run in {path} compared no systems: name the folder of a model instead")
    if name is None:
        return list(folders.values())[-1]
    if name not in folders:
        raise InputError(f"--system {name}: systems are {', '.join(folders)}{suggestion(name, folders)}")
    return folders[name]


def _run_config(path: Path) -> dict[str, str]:
    """Return what the config of a run says of model, data, language and pruning method, by dotted key; empty if the
    config is gone. Data that were mixed in have their names under ``data.mix.KEY.name``."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    # With several seeds, the config is in the folder above those of the seeds.
    file = next((file for place in (path, path.parent) if (file := place / ".hydra" / "config.yaml").is_file()), None)
    if file is None:
        return {}
    config = read_yaml(file)
    found = {}
    os.environ.setdefault("STC_ROOT", str(ROOT))
    mixed = {f"data.mix.{key}.name": str(key) for key, data in (OmegaConf.select(config, MIX) or {}).items() if data}
    for key in ("model.name", "model.path", "data.name", "data.path", "lang.code", "lang.name", "prune.method", *mixed):
        try:
            value = OmegaConf.select(config, key, throw_on_missing=True)
        except OmegaConfBaseException:  # it interpolates an environment variable that is not set here
            continue
        if value is not None:
            found[key] = expand_home(str(value)) if key.endswith(".path") else str(value)
    if "data.name" not in found and "data.path" in found:
        found["data.name"] = Path(found["data.path"]).resolve().name
    return mixed | found
