"""Translate recordings with the model of this folder. It needs the packages of requirements.txt, and nothing of stc.

The input names an audio file a line, by a path of its own or one relative to the input's folder. The output has a line
for each. A recording longer than the model's window is cut into equal parts. If the memory does not suffice, the batch
is halved.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OUT_OF_MEMORY = ("out of memory", "cublas_status_alloc_failed", "can't allocate memory")
"""Words of torch, in lower case, if the memory of a GPU, or of the machine, does not suffice."""


def main() -> None:
    settings = json.loads((HERE / "translate.json").read_text("utf-8"))
    options = _options(settings)
    files = _files(options.input)
    for name in settings["registers"]:
        importlib.import_module(name)

    import torch
    from plain_transformers import load, read, translate

    device = "cuda" if torch.cuda.is_available() else "cpu"
    request = {**settings, "device": device, "threads": torch.get_num_threads()}
    adapter = options.model / "adapter"
    model, processor, prompt = load(str(options.model), str(adapter) if adapter.is_dir() else None, request)
    extractor = processor.feature_extractor

    def sounds() -> Iterator[tuple[int, Any]]:
        for number, file in enumerate(files):
            try:
                samples = read(file, extractor.sampling_rate)
            except (RuntimeError, OSError) as error:  # of soundfile
                sys.exit(f"run.sh: {options.input}, line {number + 1}: {file} cannot be read: {error}")
            for part in in_parts(samples, extractor.n_samples):
                yield number, part

    texts: list[list[str]] = [[] for _ in files]
    for number, text in in_batches(
        sounds(), options.batch_size, lambda batch: translate(model, processor, prompt, batch)
    ):
        texts[number].append(text)
    lines = [settings["between"].join(filter(None, parts)) for parts in texts]
    part = options.output.with_name(f"{options.output.name}.part")
    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    part.replace(options.output)


def in_parts(samples: Any, window: int) -> list[Any]:
    """Return a recording as equal parts that fit into the model's window, in samples."""
    import numpy as np

    return np.array_split(samples, max(1, -(-len(samples) // window)))


def in_batches(
    sounds: Iterable[tuple[int, Any]], size: int, translate: Callable[[Sequence[Any]], Sequence[str]]
) -> Iterator[tuple[int, str]]:
    """Yield the text of each numbered sound, in order. A batch for which the memory does not suffice is halved, and so
    are all after it.

    Raises:
        RuntimeError: the memory does not suffice for a single sound, or something else went wrong.
    """
    import torch

    waiting = iter(sounds)
    while batch := list(islice(waiting, size)):
        while batch:
            part, texts = batch[:size], None
            try:
                texts = translate([sound for _, sound in part])
            except RuntimeError as error:
                if len(part) == 1 or not any(one in str(error).lower() for one in OUT_OF_MEMORY):
                    raise
            if texts is None:  # by now the failed batch is no longer held by its error
                size = len(part) // 2
                torch.cuda.empty_cache()
                print(f"out of memory: going on with {size} recordings at a time", file=sys.stderr, flush=True)
                continue
            for (number, _), text in zip(part, texts, strict=True):
                yield number, text
            batch = batch[len(part) :]


def _options(settings: dict[str, Any]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.sh", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--lang-pair", required=True, metavar="PAIR", help=settings["lang_pair"])
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="recordings at a time (default: 8)")
    parser.add_argument("--input", type=Path, required=True, metavar="FILE", help="an audio file a line")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="a translation a line")
    parser.add_argument("--model", type=Path, default=HERE / "workdir/model", help=argparse.SUPPRESS)
    options = parser.parse_args()
    source, _, target = options.lang_pair.partition("-")
    for code, known in ((source, settings["source"]), (target, settings["target"])):
        if re.split("[_-]", code)[0].lower() not in known:
            parser.error(f"--lang-pair {options.lang_pair}: this model translates {settings['lang_pair']}")
    if options.batch_size < 1:
        parser.error(f"--batch-size {options.batch_size}: 1 or more is needed")
    return options


def _files(listed: Path) -> list[str]:
    """Return the audio files that the input names. Every one must be there, so that no hour is lost on a wrong list."""
    try:
        lines = listed.read_text("utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"run.sh: --input {listed} cannot be read: {error}")
    files = []
    for number, line in enumerate(lines, start=1):
        file = listed.parent / line.removesuffix("\r")
        if not file.is_file():
            sys.exit(f"run.sh: {listed}, line {number}: there is no audio file {str(file)!r}")
        files.append(str(file))
    return files


if __name__ == "__main__":
    main()
