"""Speed and peak memory of one system, measured in a process of its own.

Memory that the calling process has used for something else would count as the system's. So :func:`measure_speed` starts
``python -m stc.metrics.speed``, which reads a request as JSON from standard input and answers as JSON on standard
output.
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
from stc.metrics.score_files import Speed
from stc.system.subprocess_json import USER_ERROR, run_json


@dataclass(frozen=True)
class SpeedRequest:
    """A system to measure, and how to compute.

    Attributes:
        model: a model folder.
        data: a manifest folder, of which the first ``utterances`` are timed.
        threads: of PyTorch on the CPU.
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


def measure_speed(request: SpeedRequest) -> Speed:
    """Measure in a fresh process.

    Raises:
        StcError: the process fails; the message has the end of its output.
    """
    return Speed(**run_json(f"measuring {request.model}", ["-m", "stc.metrics.speed"], asdict(request)))


def _measure(request: SpeedRequest) -> Speed:
    manifest = Manifest.load(Path(request.data))
    timed = Manifest(manifest.folder, manifest.task, manifest.rows[: request.utterances])

    import torch

    from stc.decoding.greedy import translate
    from stc.models.load_and_save import load

    torch.set_num_threads(request.threads)
    start = time.perf_counter()
    translator = load(Path(request.model), device=request.device, dtype=request.dtype, attention=request.attention)
    _synchronize(request.device)
    load_seconds = time.perf_counter() - start

    def seconds(utterances: Manifest, batch_size: int) -> float:
        start = time.perf_counter()
        translate(translator, utterances, batch_size=batch_size, max_new_tokens=request.max_new_tokens)
        _synchronize(request.device)
        return time.perf_counter() - start

    def warm_up(utterances: int) -> None:
        """Compile, allocate and fill caches, as the first use does."""
        seconds(Manifest(timed.folder, timed.task, timed.rows[:utterances]), utterances)

    warm_up(1)
    single = seconds(timed, 1)
    peak = _peak_memory(request.device)
    warm_up(2)  # a batch of several compiles again
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


def _synchronize(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _peak_memory(device: str) -> int:
    """Return bytes: on a GPU what PyTorch has allocated at most, else the most this process has had resident."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    # On Linux ru_maxrss is no use: a process starts with the value of the process that forked it.
    status = Path("/proc/self/status")
    peak = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE) if status.exists() else None
    if peak is not None:
        return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    request = SpeedRequest(**json.load(sys.stdin))
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for the answer alone
            speed = _measure(request)
    except StcError as error:
        print(" ".join(str(error).splitlines()), file=sys.stderr)
        sys.exit(USER_ERROR)
    print(speed.model_dump_json())


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # an ordinary exit takes a second to clean up the imported libraries
