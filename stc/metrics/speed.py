"""Speed and peak memory of one system, measured in a process of its own.

Memory that the measuring process has used for something else would count as the system's, so
:func:`measure_speed` starts ``python -m stc.metrics.speed``, which reads a request as JSON from its standard
input and answers in JSON on its standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from stc.data.manifest import Manifest
from stc.errors import StcError
from stc.system.subprocess_json import USER_ERROR, run_json


@dataclass(frozen=True)
class SpeedRequest:
    """What to measure: a model folder, a manifest folder, and how to compute.

    ``utterances`` says how many of the manifest's first ones are timed, ``threads`` the CPU threads of PyTorch.
    """

    model: str
    data: str
    utterances: int
    device: str
    dtype: str
    attention: str
    max_new_tokens: int
    decode_batch: int
    threads: int


@dataclass(frozen=True)
class Speed:
    """The answer; the fields mean what they mean in :class:`stc.metrics.records.Measurement`."""

    rtf: float
    rtf_batched: float
    peak_memory_bytes: int
    peak_memory_batched_bytes: int
    load_seconds: float
    utterances: int
    audio_seconds: float


def measure_speed(request: SpeedRequest) -> Speed:
    """Measure in a fresh process.

    Raises:
        StcError: when the process fails, with the end of what it said.
    """
    return Speed(**run_json(f"measuring {request.model}", ["-m", "stc.metrics.speed"], asdict(request)))


def _measure(request: SpeedRequest) -> Speed:
    manifest = Manifest.load(Path(request.data))
    timed = Manifest(manifest.folder, manifest.task, manifest.rows[: request.utterances])

    import torch

    from stc.decoding.greedy import translate
    from stc.models.checkpoint import load

    torch.set_num_threads(request.threads)
    start = time.perf_counter()
    translator = load(Path(request.model), device=request.device, dtype=request.dtype, attention=request.attention)
    _wait(request.device)
    load_seconds = time.perf_counter() - start

    def seconds(utterances: Manifest, batch_size: int) -> float:
        start = time.perf_counter()
        translate(translator, utterances, batch_size=batch_size, max_new_tokens=request.max_new_tokens)
        _wait(request.device)
        return time.perf_counter() - start

    def warm_up(utterances: int) -> None:
        """First use compiles, allocates and fills caches."""
        seconds(Manifest(timed.folder, timed.task, timed.rows[:utterances]), utterances)

    warm_up(1)
    single = seconds(timed, 1)
    peak = _peak_memory(request.device)
    warm_up(2)  # what was compiled for one is not for several
    batched = seconds(timed, request.decode_batch)
    return Speed(
        rtf=single / timed.seconds,
        rtf_batched=batched / timed.seconds,
        peak_memory_bytes=peak,
        peak_memory_batched_bytes=_peak_memory(request.device),
        load_seconds=load_seconds,
        utterances=len(timed),
        audio_seconds=timed.seconds,
    )


def _wait(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _peak_memory(device: str) -> int:
    """Bytes: allocated by PyTorch on a GPU, else the most this process has had resident."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    # Not ru_maxrss where it can be helped: on Linux a process starts with the value of the one that forked it.
    status = Path("/proc/self/status")
    peak = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE) if status.exists() else None
    if peak is not None:
        return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    request = SpeedRequest(**json.load(sys.stdin))
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the answer alone goes to standard output
            speed = _measure(request)
    except StcError as error:
        print(" ".join(str(error).splitlines()), file=sys.stderr)
        sys.exit(USER_ERROR)
    json.dump(asdict(speed), sys.stdout)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # taking down all that was imported takes a second
