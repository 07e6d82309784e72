"""Translating many utterances, three ways in one process on one model: the published procedure (batch 1), batched
``generate`` on audio encoded once, and stc's own. Encoding the audio counts on every side.

    python benchmarks/decoding.py                 the test split on the model that ships with stc
    python benchmarks/decoding.py --shape 7b      400 utterances, random weights at the published shape; one GPU
    python benchmarks/decoding.py --shape tiny    the same steps at a small shape

The plain side translates 20 utterances, is scaled to all, and marked so; ``--whole-test`` has it translate all of
them. Each side first translates two utterances, as a warm-up, which is where stc compiles; its seconds are shown. In
float32 all texts have to be equal, or this exits with 1; in bfloat16 the share of equal ones is reported. Writes
decoding.json with ``--json`` or into the folder OUT.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from speed import plain
from speed.shapes import Subject, add_subject, check_lengths, settle, subject
from speed.watch import add_json, end_with, gibibytes, machine, measured, now, table, write_json

from stc.data.manifest import Manifest
from stc.decoding.greedy import translate
from stc.system.machine import DECODE_BATCH

PLAIN_UTTERANCES = 20
WARMED_BY = 2  # utterances


def one_by_one(of: Subject, budget: float | None) -> list[str]:
    """The texts of the first utterances, until the budget of seconds is spent."""
    texts: list[str] = []
    start = now()
    for row in of.manifest.rows:
        texts += plain.one_by_one(of, [row])
        if budget is not None and now() - start > budget:
            break
    return texts


def first(of: Subject, utterances: int) -> Subject:
    """A subject's first utterances."""
    whole = of.manifest
    return replace(of, manifest=Manifest(whole.folder, whole.task, whole.rows[:utterances]))


def compare(of: Subject, args: argparse.Namespace) -> tuple[list[dict[str, Any]], bool]:
    """Every side's figures, and whether all of their texts are equal."""
    most = len(of.manifest) if args.whole_test else min(args.plain_utterances, len(of.manifest))
    sides: dict[str, Callable[[Subject], list[str]]] = {
        "plain": lambda of: one_by_one(first(of, most), args.budget),
        "batched generate": lambda of: plain.batched(of, plain.embeddings(of), args.batch),
        "stc": lambda of: translate(
            of.translator,
            of.manifest,
            batch_size=DECODE_BATCH[of.translator.model.device.type],
            max_new_tokens=of.max_new_tokens,
        ),
    }  # fmt: skip
    figures: list[dict[str, Any]] = []
    texts: list[str] = []
    said: dict[str, list[str]] = {}
    for name, side in sides.items():
        with measured() as once:
            side(first(of, WARMED_BY))
        with measured() as watch:
            texts = side(of)
        check_lengths(of, texts, name)
        said[name] = texts
        seconds = watch.seconds * len(of.manifest) / len(texts)
        figures.append({"side": name, "utterances": len(texts), "measured seconds": watch.seconds, "seconds": seconds,
                        "scaled": len(texts) < len(of.manifest), "peak GPU memory, GiB": watch.peak_gib,
                        "warm-up, seconds": once.seconds})  # fmt: skip
        print(f"  {name}: {len(texts)} utterances, {watch.seconds:.1f} s after {once.seconds:.1f} s", flush=True)
    for each in figures:
        each["against stc"] = each["seconds"] / figures[-1]["seconds"]
        each["equal texts"] = sum(map(str.__eq__, said[each["side"]], texts))
    return figures, all(each["equal texts"] == each["utterances"] for each in figures)


def show(figures: Sequence[dict[str, Any]]) -> None:
    rows = [
        {
            "side": each["side"],
            "utterances": str(each["utterances"]),
            "seconds for all": f"{each['seconds']:,.1f}" + (" (scaled)" if each["scaled"] else ""),
            "against stc": f"{each['against stc']:.2f}×",
            "warm-up": f"{each['warm-up, seconds']:.1f} s",
            "texts equal to stc's": f"{each['equal texts']} of {each['utterances']}",
            "peak GPU memory": gibibytes(each["peak GPU memory, GiB"]),
        }
        for each in figures
    ]
    print("\n" + table(rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add_subject(parser)
    add("--utterances", type=int, help="all of the split; 400 at 7b, 100 at tiny")
    add("--plain-utterances", type=int, default=PLAIN_UTTERANCES, help="that the plain side translates; 20")
    add("--whole-test", action="store_true", help="the plain side translates all of them")
    add("--budget", type=float, help="seconds of the plain side; the utterance that is under way is finished")
    add_json(parser)
    args = parser.parse_args()
    if args.utterances is None and args.shape == "7b":
        args.utterances = 400
    settle(args)
    return args


def main() -> int:
    args = arguments()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    about = {**machine(), "shape": args.shape, "dtype": args.dtype, "batch": args.batch}
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    languages: dict[str, Any] = {}
    right = True
    for lang in args.lang:
        print(f"\n{lang}", flush=True)
        with tempfile.TemporaryDirectory(prefix="decoding_") as folder:
            of = subject(
                args.shape,
                lang,
                Path(folder),
                split="test",
                utterances=args.utterances,
                device=device,
                dtype=args.dtype,
            )
            languages[lang], equal = compare(of, args)
        show(languages[lang])
        right = right and (equal or args.dtype != "float32")
        del of
    write_json({**about, "languages": languages}, args.json, "decoding")
    if args.dtype == "float32":
        print("\nfloat32: all texts are equal" if right else "\nfloat32: TEXTS DIFFER")
    return 0 if right else 1


if __name__ == "__main__":
    end_with(main)
