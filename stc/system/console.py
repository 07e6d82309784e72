"""The parts that every command shares: progress bars, quiet libraries, exit codes, and options for computing."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Literal, Self

from stc.errors import StcError
from stc.system.machine import DECODE_BATCH

PROGRESS = logging.getLogger("stc.progress")
"""The logger of progress lines: for a job's log, and for standard error if no bar is shown there."""

LOG_EVERY = 30.0
"""Seconds between two progress lines of the same work."""


class Bar:
    """A progress bar on standard error if that is a terminal, and a line for :data:`PROGRESS` from time to time."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        from tqdm import tqdm

        how = {"dynamic_ncols": True, "leave": False, "mininterval": 0.5, "disable": None}
        self._shown: Any = tqdm(desc=title, total=total, unit=unit, **how)
        self._title, self._total, self._unit = title, total, unit
        self._done = 0
        self._note = ""
        self._first: tuple[float, int] | None = None  # when the first items were finished, and how many
        self._logged = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def update(self, n: int = 1, note: str = "") -> None:
        self._done += n
        self._note = note or self._note
        if note:
            self._shown.set_postfix_str(note, refresh=False)
        self._shown.update(n)
        now = time.monotonic()
        self._first = self._first or (now, self._done)
        if now - self._logged >= LOG_EVERY:
            self._logged = now
            PROGRESS.info(f"{self._title}: {', '.join(filter(None, (self._count(), self._note, self._left(now))))}")

    def _count(self) -> str:
        return f"{self._done:,} of {self._total:,} {self._unit}{'' if self._unit in ('B', 'it') else 's'}"

    def _left(self, now: float) -> str:
        since, begun = self._first or (now, self._done)
        if self._done == begun or now == since:
            return ""
        seconds = (self._total - self._done) * (now - since) / (self._done - begun)
        return f"{timedelta(seconds=round(seconds))} left"


def progress(title: str, total: int, unit: str = "it") -> Bar:
    """Return a progress bar. Every long piece of work in stc shows one."""
    return Bar(title, total, unit)


def say(message: str) -> None:
    """Print a line on standard error, above a progress bar if there is one."""
    from tqdm import tqdm

    tqdm.write(f"stc: {message}", file=sys.stderr)
    sys.stderr.flush()


class _StandardError(logging.Handler):
    """A handler that prints on standard error unless that is a terminal, which shows a progress bar instead."""

    def emit(self, record: logging.LogRecord) -> None:
        if not sys.stderr.isatty():
            print(record.getMessage(), file=sys.stderr, flush=True)


def show_progress_lines() -> None:
    """Print the lines of :data:`PROGRESS` on standard error unless that is a terminal."""
    PROGRESS.setLevel(logging.INFO)
    if not PROGRESS.handlers:
        PROGRESS.addHandler(_StandardError())


def use_utf8_output() -> None:
    """Write UTF-8 to standard output and error whatever the locale is."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # it may have been replaced by something else
            stream.reconfigure(encoding="utf-8", errors="replace")


SPINS = 10_000
"""The number of times an OpenMP thread looks for work before it sleeps, unless the user has set it.

With the default, 300,000 or more, a waiting thread uses up the core that another thread needs. Sleeping at once costs
time on a quiet machine. benchmarks/busy_machine.py measures all three.
"""


def prepare_libraries() -> None:
    """Set the environment variables that libraries read when they are imported. Call it before torch is imported.

    It switches off the libraries' own progress bars and notices, and limits how long OpenMP threads wait busily: GNU's
    OpenMP counts turns, Intel's and LLVM's count milliseconds.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        os.environ |= {"GOMP_SPINCOUNT": str(SPINS), "KMP_BLOCKTIME": "1"}
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in ("bitsandbytes", "matplotlib.font_manager"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def run_command(run: Callable[[], int]) -> int:
    """Run a command and return its exit code: its own, 1 after an error a user can act on, 130 after Ctrl-C."""
    prepare_libraries()
    use_utf8_output()
    show_progress_lines()
    try:
        code = run()
        sys.stdout.flush()
        return code
    except StcError as error:
        print(f"stc: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def whole_number(text: str, most: int | None = None) -> int:
    """Parse an argument that must be a whole number from 1 to ``most``."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1 or (most is not None and number > most):
        allowed = "of at least 1" if most is None else f"from 1 to {most}"
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {allowed}")
    return number


def seconds(text: str) -> float:
    """Parse an argument that must be a number of seconds, at least 1."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 1 <= found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 1 or more")
    return found


def add_compute_options(parser: argparse.ArgumentParser) -> None:
    """Add the options --device, --dtype, --batch-size and --max-new-tokens."""
    group = parser.add_argument_group("computing")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is")
    group.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="precision; default: bfloat16 on a GPU, float32 on the CPU"
    )
    group.add_argument(
        "--batch-size",
        type=whole_number,
        help=f"utterances at a time; default: {DECODE_BATCH['cuda']} on a GPU, {DECODE_BATCH['cpu']} on the CPU",
    )
    group.add_argument(
        "--max-new-tokens",
        type=partial(whole_number, most=1024),
        default=256,
        help="where a translation is cut off (default: 256)",
    )


def default_dtype(device: str) -> Literal["float32", "bfloat16"]:
    """Return the default precision of a device."""
    return "float32" if device == "cpu" else "bfloat16"
