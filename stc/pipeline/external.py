"""A folder from outside a store as an artifact of a pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stc.models.folder import ModelFolder
from stc.store import Store, identity_of
from stc.store.artifact import Artifact, Kind
from stc.store.outside_folders import artifact_of_folder


def external_artifact(store: Store, kind: Kind, folder: Path) -> Artifact:
    """Return a folder from outside as an artifact, identified by the content of its files.

    The results of a model also depend on its family and its quantizer, whose versions above 1 are part of the identity.

    Raises:
        InputError: as :func:`stc.store.outside_folders.artifact_of_folder`.
        ModelError: a model's folder is damaged, or holds something else than a model.
    """
    versions = ModelFolder.of(folder).versions if kind is Kind.MODEL and folder.is_dir() else {}
    found = artifact_of_folder(store, kind, folder)
    if not versions:
        return found
    return replace(found, identity=identity_of({"external": found.identity, "versions": versions}))
