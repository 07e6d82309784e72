"""Measuring one side after the other, and what is told of it."""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from stc.errors import StcError


@dataclass
class Measured:
    """One side's seconds, and the largest GPU memory (GiB) allocated in them; None on the CPU."""

    seconds: float = 0.0
    peak_gib: float | None = None


@contextmanager
def measured() -> Iterator[Measured]:
    """Everything the GPU was asked to do before has been done at the start, and all within it at the end."""
    found, gpu = Measured(), torch.cuda.is_available()
    gc.collect()
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    start = now()
    yield found
    found.seconds = now() - start
    if gpu:
        found.peak_gib = torch.cuda.max_memory_allocated() / 2**30


def now() -> float:
    """Seconds, once the GPU has done what it was asked to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def machine() -> dict[str, Any]:
    import transformers

    gpu = torch.cuda.is_available()
    return {
        "machine": torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def gibibytes(peak: float | None) -> str:
    return "–" if peak is None else f"{peak:.1f} GiB"


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of equal keys as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="where the figures go; else into the folder OUT names, if it is set")


def end_with(main: Callable[[], int]) -> NoReturn:
    """End with what ``main`` returns, or with the words of an error of stc's."""
    try:
        raise SystemExit(main())
    except StcError as error:
        raise SystemExit(str(error)) from None


def write_json(report: Mapping[str, Any], file: Path | None, name: str) -> None:
    if file is None and "OUT" in os.environ:
        file = Path(os.environ["OUT"]) / f"{name}.json"
    if file is not None:
        file.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
