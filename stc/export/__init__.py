"""Export of a finished model as a folder for others, with a model card and a proof that it works without stc.

The steps: find the result (``source``) and what the store knows of it (``history``), write the folder under a temporary
name, prove it (``proof``), check it against vLLM (``vllm``), write its card (``card``), and rename it. If the proof
fails, nothing is left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stc.errors import InputError
from stc.export import vllm
from stc.export.adapter import base_folder, named_base, set_base
from stc.export.card import CARD_FILE, Card
from stc.export.history import ProofExample, history_of, proof_example
from stc.export.portable import make_portable
from stc.export.round_trip_check import ProofResult, prove
from stc.export.source import ExportForm, ExportSource, find_source
from stc.models import architecture, read_config
from stc.models.adapters import merge_into
from stc.models.folder import ModelFolder, files_of_adapter


@dataclass(frozen=True)
class ExportResult:
    folder: Path
    card: Card
    proof: ProofResult


def export(
    path: Path,
    out: Path,
    *,
    system: str | None = None,
    merged: bool = False,
    base_model: str | None = None,
    license_id: str | None = None,
    data: Path | None = None,
    name: str | None = None,
    device: str = "cpu",
) -> ExportResult:
    """Export a result to ``out``, a new or an empty folder.

    Args:
        path: a model or adapter folder, in a store or not, or the folder of a run.
        system: the system of a run; None for the last, which is the compressed model.
        merged: export the plain bfloat16 model: the one that a quantized model was packed from, or an adapter's base
            with the adapter merged into it.
        base_model: the name under which users find the base: a hub id, or a folder.
        license_id: the license that the card states.
        data: a manifest folder whose first utterance is translated for the proof; needed if the store has none.
        name: of the model in the card; None for the folder's name.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: ``path`` is no result, ``out`` is taken, or something that is needed is not known.
        ModelError: the folder is damaged, or the adapter does not fit its base.
        StcError: the proof fails.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} already exists: an export needs a new or an empty folder")
    requested = find_source(path, system)
    source = requested.plain() if merged and requested.form == "quantized" else requested
    history = history_of(source, requested)
    example = proof_example(history, data)
    building = out.parent / f".{out.name}.{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    try:
        proof, model_folder = _write_and_prove(source, building, example, merged, base_model, device)
        form: ExportForm = "merged" if merged else source.form
        family = architecture(read_config(model_folder)["model_type"])
        card = Card(
            name=name or out.resolve().name,
            form=form,
            model_class=family.model_class().__name__,
            conversation=family.conversation(example.manifest.task),
            base_model=base_model or history.base_model or named_base(building),
            license_id=license_id,
            history=history,
            example=example,
            vllm=vllm.refusals(model_folder, form),
        )
        (building / CARD_FILE).write_text(card.text(building), encoding="utf-8")
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir():
            out.rmdir()
        building.rename(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return ExportResult(out, card, proof)


def push(exported: ExportResult, repository: str) -> str:
    """Upload an export to the Hugging Face hub. A repository that does not exist is created as a private one.

    Returns:
        the URL of the commit.

    Raises:
        InputError: the hub refuses it, or cannot be reached.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    hub = HfApi()
    try:
        hub.create_repo(repository, private=True, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repository, folder_path=exported.folder, commit_message=f"{exported.card.name}, exported by stc"
        )
    except (HTTPError, HFValidationError, OSError) as error:  # a missing token or network is an OSError
        message = " ".join(str(error).split())
        raise InputError(f"--push-to-hub {repository}: {message}; the export itself is in {exported.folder}") from None
    return str(commit.commit_url)


def _write_and_prove(
    source: ExportSource, out: Path, example: ProofExample, merged: bool, base_model: str | None, device: str
) -> tuple[ProofResult, Path]:
    """Return the proof, and the folder of the model: the export, or the base of an exported adapter."""
    if source.form != "adapter":
        _copy(source.folder, ModelFolder.of(source.folder).files, out)
        make_portable(out)
        return prove((out, None), (source.folder, None), example, device), out
    base = base_folder(source, base_model)
    original = (base, source.folder)
    if merged:
        merge_into(*original, out, device)
        make_portable(out)
        return prove((out, None), original, example, device), out
    _copy(source.folder, files_of_adapter(source.folder), out)
    set_base(out, base_model)
    return prove((base, out), original, example, device), base


def _copy(folder: Path, files: Iterable[Path], out: Path) -> None:
    """Copy files of a folder. Hard links would let an edit of the export change the store."""
    for file in files:
        target = out / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
