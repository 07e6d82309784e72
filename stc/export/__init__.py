"""A finished model as a folder for others: with a model card, and proven by a process that knows nothing of stc.

Three forms, in one order of steps: find the result and what the store knows of it (``source``, ``history``), write
the folder beside its place, prove it (``proof``), check it against vLLM (``vllm``), write its card (``card``), and
put it in its place. A proof that fails leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stc.errors import InputError
from stc.export import adapter as adapters
from stc.export import history, vllm
from stc.export.card import CARD_FILE, Card
from stc.export.history import ProofExample
from stc.export.portable import finish
from stc.export.proof import ProofResult, prove
from stc.export.source import ExportForm, ExportSource, find_source
from stc.models import architecture, read_config
from stc.models.adapters import merge_into
from stc.models.folder import ModelFolder, files_of_adapter


@dataclass(frozen=True)
class ExportResult:
    """What an export gave: the folder, its card and its proof. ``card.vllm`` is empty where vLLM can load it."""

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
    """Export a result to ``out``, which must not exist yet or be empty.

    Args:
        path: a model or adapter folder, in a store or not, or the folder of a run (its result.json is read).
        system: which system of a run; the last, which is the compressed model, where it is left out.
        merged: the plain bfloat16 model instead: what a quantized folder was packed from, or an adapter's base with
            the adapter merged into it.
        base_model: the name under which users find the base: a hub id, or a folder.
        license_id: what the card says of the license.
        data: a manifest folder whose first utterance is translated as proof, where the store has none.
        name: what the card calls the model; the folder's name where it is left out.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: ``path`` is no result, ``out`` is taken, or something that is needed is not known.
        ModelError: the folder is damaged, or the adapter does not fit its base.
        StcError: the proof fails.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already: an export goes to a new or an empty folder")
    asked = find_source(path, system)
    source = asked.plain() if merged and asked.form == "quantized" else asked
    known = history.history_of(source, like=asked)
    example = history.proof_example(known, data)
    building = out.parent / f".{out.name}.{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    try:
        proof, described = _write(source, building, example, merged, base_model, device)
        form: ExportForm = "merged" if merged else source.form
        family = architecture(read_config(described)["model_type"])
        card = Card(
            name=name or out.resolve().name,
            form=form,
            model_class=family.model_class().__name__,
            conversation=family.conversation(example.manifest.task),
            base_model=base_model or known.base_model or adapters.named_base(building),
            license_id=license_id,
            known=known,
            example=example,
            vllm=vllm.refusals(described, form),
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
    """Upload an export to the Hugging Face hub, into a repository that is made, private, where there is none.

    Returns:
        the address of the commit.

    Raises:
        InputError: the hub refuses it, or cannot be reached; what it said is in the message.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    hub = HfApi()
    try:
        hub.create_repo(repository, private=True, exist_ok=True)
        done = hub.upload_folder(
            repo_id=repository, folder_path=exported.folder, commit_message=f"{exported.card.name}, exported by stc"
        )
    except (HTTPError, HFValidationError, OSError) as error:  # no token and no network are OSErrors
        said = " ".join(str(error).split())
        raise InputError(f"--push-to-hub {repository}: {said}; the export itself is in {exported.folder}") from None
    return str(done.commit_url)


def _write(
    source: ExportSource, out: Path, example: ProofExample, merged: bool, base_model: str | None, device: str
) -> tuple[ProofResult, Path]:
    """Write and prove the folder; its proof, and the folder whose config.json describes the model it is or is for."""
    if source.form != "adapter":
        _copy(source.folder, ModelFolder.of(source.folder).files, out)
        finish(out)
        return prove((out, None), (source.folder, None), example, device), out
    base = adapters.base_folder(source, base_model)
    if merged:
        merge_into(base, source.folder, out, device)
        finish(out)
        return prove((out, None), (base, source.folder), example, device), out
    _copy(source.folder, files_of_adapter(source.folder), out)
    adapters.set_base(out, base_model)
    return prove((base, out), (base, source.folder), example, device), base


def _copy(folder: Path, files: Iterable[Path], out: Path) -> None:
    """Copy files of a folder. Not linked: an export is for editing, and what is in the store never changes."""
    for file in files:
        target = out / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
