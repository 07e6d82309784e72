"""Checks of this machine. Each says what it found, and what to do if that is not enough.

They change nothing: a store or a database that does not exist is not made.
"""

from __future__ import annotations

import platform
import sqlite3
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from stc.errors import StcError, first_line
from stc.planning.disk import free_disk_space, nearest_folder
from stc.system.machine import resolve_device, usable_cores
from stc.system.number_formats import format_bytes
from stc.system.paths import ROOT
from stc.tracking.destination import health_status

if TYPE_CHECKING:
    from stc.quantization import Quantizer

Status = Literal["OK", "WARN", "FAIL"]

MODULES = {"hydra-core": "hydra", "pyyaml": "yaml"}
"""The module of a package, if its name differs from the package's."""
AUDIO_FORMATS = {  # libsndfile's names for them
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg (Vorbis)": ("OGG", "VORBIS"),
    "ogg (Opus)": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
SHIPPED_FORMAT = "ogg (Opus)"  # of the embedded corpus
ROOM = 500_000_000  # bytes beside the models: audio of the manifests, scratch, translations
MEMORY = 2 * 2**30  # bytes that torch, transformers and a small model need
ANSWER_SECONDS = 3.0


@dataclass(frozen=True)
class Check:
    """The result of a check: a line of the report."""

    status: Status
    about: str
    found: str


def project_requirements() -> tuple[str, list[str]]:
    """Return the Python versions and the packages that stc needs: as the checkout says that it runs from, or else the
    installed package."""
    if (file := ROOT / "pyproject.toml").is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        return project["requires-python"], project["dependencies"]
    return metadata("stc")["Requires-Python"], requires("stc") or []


def check_python() -> Iterator[Check]:
    here, allowed = platform.python_version(), project_requirements()[0]
    if SpecifierSet(allowed).contains(here):
        yield Check("OK", "python", here)
    else:
        yield Check("FAIL", "python", f"{here}: stc needs {allowed}")


def check_libraries() -> Iterator[Check]:
    """Check that the packages stc depends on are installed, in a version it accepts, and importable.

    A package that cannot be imported for lack of another one that is checked has no failure of its own.
    """
    needed = [
        one
        for one in map(Requirement, project_requirements()[1])
        if one.marker is None or one.marker.evaluate({"extra": ""})
    ]
    missing = {_module(one.name) for one in needed if _installed_version(one.name) is None}
    for requirement in needed:
        name, found = requirement.name, _installed_version(requirement.name)
        if found is None:
            yield Check("FAIL", name, f"not installed: pip install '{requirement}'")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            yield Check("FAIL", name, f"{found}: stc needs {requirement.specifier}; pip install '{requirement}'")
            continue
        try:
            import_module(_module(name))
        except Exception as error:  # a broken installation raises anything
            if not (isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in missing):
                yield Check("FAIL", name, f"{found} is installed and cannot be imported: {first_line(error)}")
        else:
            yield Check("OK", name, found)


def _module(package: str) -> str:
    return MODULES.get(package, package.replace("-", "_"))


def _installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_devices(requested: Literal["auto", "cpu", "cuda"], quantizers: Sequence[Quantizer]) -> Iterator[Check]:
    """Check memory, and on each device bfloat16 and packed layers. A device that a run would not use cannot fail.

    Args:
        requested: ``resources.device``.
        quantizers: those of the run.
    """
    import psutil
    import torch

    memory = psutil.virtual_memory()
    cores = usable_cores()
    enough = memory.available >= MEMORY
    found = f"{cores} cores, {gib(memory.available)} of {gib(memory.total)} memory free"
    yield Check("OK" if enough else "WARN", "cpu", found + ("" if enough else f"; a run wants {gib(MEMORY)} at least"))
    try:
        used = resolve_device(requested)
    except StcError as error:
        yield Check("FAIL", "gpu", str(error))
        used = "cpu"
    usable = torch.cuda.is_available()
    if used == "cuda" and not usable:
        yield Check(
            "FAIL",
            "gpu",
            f"there is one, which torch {torch.__version__} cannot use: install a torch built for it, or "
            "resources.device=cpu",
        )
    elif not usable:
        yield Check("OK", "gpu", "none; everything runs on the CPU")
    devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count() if usable else 0))]
    for device in devices[1:]:
        free, total = torch.cuda.mem_get_info(device)
        yield Check("OK", device, f"{torch.cuda.get_device_name(device)}, {gib(free)} of {gib(total)} free")
    for device in devices:
        failure: Status = "FAIL" if device.split(":")[0] == used else "WARN"
        yield _check_bfloat16(device, failure)
        for quantizer in quantizers:
            yield _check_packed_layer(quantizer, device, failure)


def _check_bfloat16(device: str, failure: Status) -> Check:
    import torch

    about = f"bfloat16, {device}"
    try:
        ones = torch.ones(8, 8, dtype=torch.bfloat16, device=device)
        right = bool((ones @ ones == 8).all())
    except RuntimeError as error:
        return Check(failure, about, f"{first_line(error)}; compute in float32: model.dtype=float32")
    if not right:
        return Check(failure, about, "gives wrong sums; compute in float32: model.dtype=float32")
    if device != "cpu" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return Check("WARN", about, "emulated, which is slow: model.dtype=float32 may be faster")
    return Check("OK", about, "computes")


def _check_packed_layer(quantizer: Quantizer, device: str, failure: Status) -> Check:
    """Check that a packed layer computes nearly what the layer itself does."""
    about = f"{quantizer.method}, {device}"
    try:
        error = rounding_error(quantizer, device)
    except Exception as fault:  # libraries raise what their native parts do
        return Check(failure, about, f"{quantizer.LIBRARY} fails here: {first_line(fault)}")
    if not error < quantizer.MAX_ERROR:
        return Check(failure, about, f"{quantizer.LIBRARY} computes wrongly here: a layer is off by {error:.1%}")
    return Check("OK", about, f"a layer is packed by {quantizer.LIBRARY} and computes, {error:.1%} off as it should be")


def rounding_error(quantizer: Quantizer, device: str) -> float:
    """Return the relative error of the output of a small packed layer."""
    import torch

    random = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(128, 64, bias=False)
    batch = torch.randn(4, 128, generator=random)
    with torch.inference_mode():
        layer.weight.copy_(torch.randn(64, 128, generator=random))
        exact = layer(batch)
        packed = quantizer.quantize_layer(layer.to(device), torch.float32)(batch.to(device)).float().cpu()
    return float((packed - exact).norm() / exact.norm())


def check_audio_formats() -> Iterator[Check]:
    """Write a tone in every format and read it again."""
    import numpy as np
    import soundfile

    from stc.data.audio import decode_audio

    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    broken = []
    for name, (form, subtype) in AUDIO_FORMATS.items():
        try:
            with tempfile.TemporaryFile() as content:
                soundfile.write(content, tone, 16_000, format=form, subtype=subtype)
                content.flush()
                samples, _ = decode_audio(content, name, 16_000)
        except (StcError, RuntimeError, ValueError) as error:
            broken.append((name, first_line(error)))
            continue
        loudness = float(np.sqrt(2 * np.mean(np.square(samples))))
        if not 0.4 < loudness < 0.6:
            broken.append((name, f"a tone comes back {loudness / 0.5:.1f} times as loud"))
    library = f"libsndfile {soundfile.__libsndfile_version__}"
    for name, why in broken:
        yield Check(
            "FAIL" if name == SHIPPED_FORMAT else "WARN",
            f"audio, {name}",
            f"{library} cannot: {why}; pip install -U soundfile brings its own",
        )
    if fine := [name for name in AUDIO_FORMATS if name not in dict(broken)]:
        yield Check("OK", "audio", f"{library} reads {', '.join(fine)}")


def check_store(folder: Path, to_write: int | None) -> Iterator[Check]:
    """Check that the store can be written to, and has room for models of so many bytes; None if that is not known."""
    about = "store"
    there = nearest_folder(folder)
    if (why := _unwritable(there)) is not None:
        yield Check("FAIL", about, f"{there} cannot be written to: {why}; store.dir=FOLDER names another place")
        return
    free = free_disk_space(there)
    found = f"{folder.absolute()}: {format_bytes(free)} free"
    if to_write is None:
        yield Check("OK" if free > ROOM else "WARN", about, f"{found}; how much the run's models take is not known yet")
        return
    found += f", the models to come take {format_bytes(to_write)}"
    status: Status = "FAIL" if free < to_write else "WARN" if free < to_write + ROOM else "OK"
    yield Check(status, about, found + ("" if status == "OK" else "; store.dir=FOLDER names another place"))


def check_tracking(uri: str) -> Iterator[Check]:
    """Check that MLflow can be reached at ``tracking.uri``."""
    about, instead = "mlflow", "tracking=none runs without it"
    if uri.startswith("sqlite:///"):
        fault = _database_fault(Path(uri.removeprefix("sqlite:///")).expanduser())
    elif uri.startswith(("http://", "https://")):
        fault = _server_fault(uri)
    elif uri.startswith("file:") or "://" not in uri:
        fault = _folder_fault(uri)
    else:
        yield Check("WARN", about, f"{uri}: whether it answers is not checked")
        return
    yield Check("OK", about, uri) if fault is None else Check("FAIL", about, f"{uri}: {fault}; {instead}")


def _database_fault(file: Path) -> str | None:
    if not file.exists():
        return _unwritable(nearest_folder(file.absolute().parent))
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=ANSWER_SECONDS)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    return None


def _server_fault(uri: str) -> str | None:
    answer = health_status(uri)
    if isinstance(answer, str):
        return f"no answer ({first_line(answer)})"
    return None if answer == 200 else f"something answers that is no MLflow server (/health gives {answer})"


def _folder_fault(uri: str) -> str | None:
    from mlflow import MlflowClient

    try:
        MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except Exception as error:  # MLflow wraps whatever its back end raises
        return first_line(error)
    return None


def _unwritable(folder: Path) -> str | None:
    """Return why nothing can be written to a folder, None if it can. It writes a file that is gone at once."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def gib(number: float) -> str:
    return f"{number / 2**30:.1f} GiB"
