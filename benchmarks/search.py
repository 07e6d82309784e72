"""The greedy search for layers, three ways in one process on one model: the published procedure, batched
``generate`` on audio encoded once, and stc's own.

    python benchmarks/search.py                            both languages on the model that ships with stc
    python benchmarks/search.py --shape 7b --layers 16     random weights at the published shape; one GPU of 80 GB
    python benchmarks/search.py --shape tiny               the same steps at a small shape

A side that is cut short, by ``--plain-utterances``, ``--plain-candidates``, ``--batched-candidates`` or ``--budget``,
is scaled to the whole search, and marked so; stc's is measured whole. Later rounds have fewer layers: a candidate is
taken to cost in proportion to those it has, which is less than it does, since the audio is as long as ever. Before each
side one utterance is translated, as a warm-up; whatever a side prepares for itself counts.

In float32 every score, and the order of removal as far as sides went the same way, have to be equal, or this exits
with 1. In bfloat16 the share of equal texts is reported. Writes search.json with ``--json`` or into the folder OUT.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from speed import plain
from speed.shapes import Subject, add_subject, check_lengths, settle, subject
from speed.watch import Measured, add_json, end_with, gibibytes, machine, measured, now, table, write_json

from stc.decoding.features import FeatureReader, write_features
from stc.metrics.metric import metric_named, score
from stc.pruning.search.translations import translations_without_each
from stc.system.console import progress
from stc.system.machine import DECODE_BATCH
from stc.system.memory import BatchSize

FLOAT32_CANDIDATE = 13  # the first layer published for German; for the check of one candidate

Texts = Iterator[tuple[int, list[str]]]
Round = Callable[[list[int], list[int]], Texts]
"""(removed, candidates) → (candidate, its texts)"""


@dataclass
class Side:
    """What one side has found.

    Attributes:
        scores, texts: by (round, candidate).
        share: of a candidate's utterances that were translated.
        once: seconds before the first candidate.
        rounds: seconds after each round.
    """

    name: str
    order: list[int] = field(default_factory=list)
    scores: dict[tuple[int, int], float] = field(default_factory=dict)
    texts: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    watch: Measured = field(default_factory=Measured)
    share: float = 1.0
    once: float = 0.0
    rounds: list[float] = field(default_factory=list)

    def a_candidate(self) -> float:
        return (self.watch.seconds - self.once) / len(self.scores) / self.share

    def whole(self, count: int, removed: int) -> float:
        """Seconds of a search that removes so many of ``count`` layers; scaled, if it was not seen to its end."""
        tried = sum(layers_of_candidate(count, number) for number, _ in self.scores)
        every = sum(len(candidates(count, range(1, 1 + n))) * layers_of_candidate(count, n) for n in range(removed))
        return self.once + self.a_candidate() * len(self.scores) * every / tried


def layers_of_candidate(count: int, done: int) -> int:
    """What a candidate has left after so many rounds."""
    return count - done - 1


def candidates(count: int, removed: Sequence[int]) -> list[int]:
    """All but the first layer, the last, and those that are gone."""
    return [layer for layer in range(1, count - 1) if layer not in removed]


def total(count: int, rounds: int) -> int:
    return sum(len(candidates(count, range(1, 1 + done))) for done in range(rounds))


def search(side: Side, make: Callable[[], Round], of: Subject, args: Any, most: int | None) -> Side:
    """Rounds of a greedy search, until ``most`` candidates are tried or the budget of seconds is spent."""
    plain.one_by_one(of, of.manifest.rows[:1])
    with measured() as side.watch:
        start = now()
        each = make()
        side.once = now() - start
        for number in range(args.layers):
            left = candidates(of.layers, side.order)
            for layer, texts in each(side.order, left):
                check_lengths(of, texts, side.name)
                targets = of.manifest.targets[: len(texts)]
                side.texts[number, layer] = texts
                side.scores[number, layer] = score(of.metric, texts, targets, of.manifest.task.target_lang)
                side.share = len(texts) / len(of.manifest)
                spent = args.budget is not None and now() - start > args.budget
                if (most is not None and len(side.scores) >= most) or spent:
                    break
            found = {layer: side.scores[number, layer] for layer in left if (number, layer) in side.scores}
            if len(found) < len(left):
                break
            side.order.append(max(left, key=lambda layer: found[layer]))  # of equal ones the first
            side.rounds.append(now() - start)
            print(
                f"  {side.name}: round {number + 1} removes layer {side.order[-1]}, {side.rounds[-1]:.1f} s", flush=True
            )
    print(f"  {side.name}: {len(side.scores)} candidates, {side.a_candidate():.3f} s each", flush=True)
    return side


def sides(of: Subject, args: Any, folder: Path) -> list[Side]:
    """All sides, measured; ``folder`` is for stc's files."""
    rows = of.manifest.rows[: args.plain_utterances]

    def one_by_one() -> Round:
        def each(removed: list[int], left: list[int]) -> Texts:
            for layer in left:
                with plain.without(of.translator.model, [*removed, layer]):
                    texts = plain.one_by_one(of, rows)
                yield layer, texts

        return each

    def batched() -> Round:
        embedded = plain.embeddings(of)

        def each(removed: list[int], left: list[int]) -> Texts:
            for layer in left:
                with plain.without(of.translator.model, [*removed, layer]):
                    texts = plain.batched(of, embedded, args.batch)
                yield layer, texts

        return each

    return [
        search(Side("plain"), one_by_one, of, args, args.plain_candidates),
        search(Side("batched generate"), batched, of, args, args.batched_candidates),
        search(Side("stc"), lambda: ours(of, folder / "features"), of, args, None),
    ]


def ours(of: Subject, folder: Path) -> Round:
    """The audio is encoded once for all rounds, into files in ``folder``, as the stage ``features`` does."""
    batch_size = DECODE_BATCH[of.translator.model.device.type]
    folder.mkdir()
    with progress("features", total=len(of.manifest)) as bar:
        size = BatchSize(batch_size, "the batch size")
        write_features(of.translator, of.manifest, folder, batch_size=size, workers=4, progress=bar)
    features = FeatureReader(folder)

    def each(removed: list[int], left: list[int]) -> Texts:
        found = translations_without_each(
            of.translator,
            of.manifest,
            {"decoder": removed, "encoder": []},
            {"decoder": left, "encoder": []},
            batch_size=batch_size,
            max_new_tokens=of.max_new_tokens,
            features=features,
        )
        return ((layer, texts) for _, layer, texts in found)

    return each


def compare(first: Side, second: Side) -> dict[str, Any]:
    """Two sides as far as they removed the same layers: scores that differ, and the share of equal texts."""
    same = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first.order, second.order, strict=False))))
    both = [key for key in first.scores.keys() & second.scores.keys() if key[0] <= same]
    pairs = [pair for key in both for pair in zip(first.texts[key], second.texts[key], strict=False)]
    whole = [key for key in both if len(first.texts[key]) == len(second.texts[key])]
    return {
        "candidates": len(both),
        "scores": len(whole),
        "scores that differ": sum(first.scores[key] != second.scores[key] for key in whole),
        "texts": len(pairs),
        "texts that are equal": sum(one == other for one, other in pairs),
        # A side that translated fewer utterances goes its own way after the first round.
        "same order": first.share < 1 or same == min(len(first.order), len(second.order)),
    }


def report(of: Subject, found: Sequence[Side], rounds: int) -> dict[str, Any]:
    """The table of one language, printed, and its figures."""
    every, last = total(of.layers, rounds), found[-1]
    rows, figures = [], []
    for side in found:
        scaled = len(side.scores) < every or side.share < 1
        seconds = side.whole(of.layers, rounds)
        ratio = seconds / last.whole(of.layers, rounds)
        tried = f"{len(side.scores)} of {every}" + (f", {side.share:.0%} of each" if side.share < 1 else "")
        rows.append(
            {
                "side": side.name,
                "candidates": tried,
                "seconds a candidate": f"{side.a_candidate():.3f}",
                "whole search": f"{seconds:,.1f} s" + (" (scaled)" if scaled else ""),
                "against stc": f"{ratio:.2f}×",
                "peak GPU memory": gibibytes(side.watch.peak_gib),
                "removed": " ".join(map(str, side.order)) or "–",
            }
        )
        figures.append(
            {
                "side": side.name,
                "candidates": len(side.scores),
                "of": every,
                "share of utterances": side.share,
                "measured seconds": side.watch.seconds,
                "seconds before the first candidate": side.once,
                "seconds after each round": side.rounds,
                "seconds a candidate": side.a_candidate(),
                "whole search, seconds": seconds,
                "scaled": scaled,
                "against stc": ratio,
                "peak GPU memory, GiB": side.watch.peak_gib,
                "removed": side.order,
                "scores": [{"round": key[0], "layer": key[1], "score": one} for key, one in side.scores.items()],
            }
        )
    compared = {f"{side.name} and {last.name}": compare(side, last) for side in found[:-1]}
    print("\n" + table(rows) + "\n")
    for pair, result in compared.items():
        print(f"{pair}: " + ", ".join(f"{name} {value}" for name, value in result.items()))
    return {
        "metric": metric_named(of.metric).title,
        "utterances": len(of.manifest),
        "sides": figures,
        "compared": compared,
    }


def check_fp32(args: Any, device: str) -> dict[str, int]:
    """One candidate in float32: stc's texts against ``generate`` at batch 1, on a few utterances."""
    with tempfile.TemporaryDirectory(prefix="search_") as folder:
        of = made(args, args.lang[0], Path(folder), device, "float32", args.check_fp32)
        layer = min(FLOAT32_CANDIDATE, of.layers - 2)
        ((_, texts),) = ours(of, Path(folder, "features"))([], [layer])
        with plain.without(of.translator.model, [layer]):
            expected = plain.one_by_one(of, of.manifest.rows)
        check_lengths(of, texts, "stc")
    equal = sum(one == other for one, other in zip(texts, expected, strict=True))
    print(f"\nfloat32, without layer {layer}: {equal} of {len(texts)} texts are those of generate at batch 1")
    return {"layer": layer, "texts": len(texts), "texts that are equal": equal}


def made(args: Any, lang: str, folder: Path, device: str, dtype: str, utterances: int | None) -> Subject:
    return subject(args.shape, lang, folder, split="selection", utterances=utterances, device=device, dtype=dtype)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add_subject(parser)
    add("--layers", type=int, help="to remove; half of the shipped model's, 8 of 7b, 2 of tiny")
    add("--utterances", type=int, help="to score by; all of the split, or 100")
    add("--plain-utterances", type=int, help="of each candidate on the plain side; 20 at 7b, else all")
    add("--plain-candidates", type=int, help="on the plain side; 1 at 7b, else all")
    add("--batched-candidates", type=int, help="of batched generate; 3 at 7b, else all")
    add("--budget", type=float, help="seconds a side; the candidate that is under way is finished")
    add("--check-fp32", type=int, metavar="UTTERANCES", help="also compare one candidate in float32, token for token")
    add_json(parser)
    args = parser.parse_args()
    layers = {"talks": 8, "7b": 8, "tiny": 2}[args.shape]
    few: dict[str, Any] = {"plain_utterances": 20, "plain_candidates": 1, "batched_candidates": 3}
    defaults = few if args.shape == "7b" else {}
    for name, value in (defaults | {"layers": layers}).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    settle(args)
    return args


def main() -> int:
    args = arguments()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    about = {**machine(), "shape": args.shape, "dtype": args.dtype, "batch": args.batch, "layers": args.layers}
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    languages: dict[str, Any] = {}
    for lang in args.lang:
        print(f"\n{lang}", flush=True)
        with tempfile.TemporaryDirectory(prefix="search_") as folder:
            of = made(args, lang, Path(folder), device, args.dtype, args.utterances)
            languages[lang] = report(of, sides(of, args, Path(folder)), args.layers)
        del of
    right = args.dtype != "float32" or all(
        pair["same order"] and not pair["scores that differ"] and pair["texts that are equal"] == pair["texts"]
        for found in languages.values()
        for pair in found["compared"].values()
    )
    written: dict[str, Any] = {**about, "languages": languages}
    if args.check_fp32:
        written["float32"] = check_fp32(args, device)
        right = right and written["float32"]["texts that are equal"] == written["float32"]["texts"]
    write_json(written, args.json, "search")
    if args.dtype == "float32" or args.check_fp32:
        print("\nfloat32: all sides agree" if right else "\nfloat32: THE SIDES DIFFER")
    return 0 if right else 1


if __name__ == "__main__":
    end_with(main)
