"""Whether the shipped task is worth measuring on: what a finished run's teacher does with each kind of test
utterance, whether it listens, and what the removal of layers costs before healing.

    python -m stc.run -m prune.ratio=0.5 lang=de,zh
    python benchmarks/talks_task.py multirun/DATE/TIME/*/result.json

Prints Markdown. Scores are in the metric of the run's retention: chrF++ for German, chrF for Chinese. Random choices
of layers and the shuffling of audio are seeded.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stc.config.languages import load_language
from stc.data.manifest import Manifest, Utterance
from stc.decoding.greedy import decode, embed_prompts
from stc.metrics.metric import metric_named, score, statistics
from stc.metrics.significance import retention
from stc.models.architecture import protected_layers
from stc.models.layer_removal import without_layers
from stc.models.load_and_save import Translator, load
from stc.system.read_files import read_lines

TALKS = Path(__file__).parents[1] / "assets" / "talks"
DRAWS = 5
BATCH, MAX_NEW_TOKENS = 32, 48

Row = Mapping[str, Any]
SUBSETS: dict[str, Callable[[Row], bool]] = {
    "all": lambda row: True,
    "sentence pattern met in training": lambda row: not row["held_out_pattern"],
    "sentence pattern held out": lambda row: row["held_out_pattern"],
    "espeak-ng, voices held out": lambda row: row["engine"] == "espeak",
    "flite, voice held out": lambda row: row["engine"] == "flite",
    "piper, engine held out": lambda row: row["engine"] == "piper",
    "clean": lambda row: not row["noisy"],
    "noisy": lambda row: row["noisy"],
    "noisy, kind of noise held out (clatter)": lambda row: row["noise"] == "clatter",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What a run on the shipped task shows.")
    parser.add_argument("results", type=Path, nargs="+", help="result.json of runs on data=talks")
    for file in parser.parse_args().results:
        run = json.loads(file.read_text("utf-8"))
        lang = run["lang"]
        rows = read(TALKS / "test.jsonl")
        print(f"\n## {load_language(lang).name} ({metric_named(load_language(lang).metric).title})\n", flush=True)
        by_subset(run, rows, lang)
        listening(run, rows, lang)
        removal(run, rows, lang)


def read(file: Path) -> list[Row]:
    return [json.loads(text) for _, text in read_lines(file)]


def hypotheses(system: Mapping[str, Any]) -> list[str]:
    return Path(system["hypotheses"]).read_text("utf-8").removesuffix("\n").split("\n")


def by_subset(run: Mapping[str, Any], rows: list[Row], lang: str) -> None:
    systems = {system["name"]: hypotheses(system) for system in run["systems"]}
    print(f"| test utterances | number | {' | '.join(systems)} |\n| --- | --- {'| --- ' * len(systems)}|")
    for subset, belongs in SUBSETS.items():
        chosen = [index for index, row in enumerate(rows) if belongs(row)]
        references = [rows[index][f"text_{lang}"] for index in chosen]
        scores = [
            score(load_language(lang).metric, [texts[index] for index in chosen], references, lang)
            for texts in systems.values()
        ]
        print(f"| {subset} | {len(chosen)} | {' | '.join(f'{value:.1f}' for value in scores)} |", flush=True)


def listening(run: Mapping[str, Any], rows: list[Row], lang: str) -> None:
    """A translation depends on the audio alone, so shuffling the audio shuffles the translations."""
    translated, references = hypotheses(run["systems"][0]), [row[f"text_{lang}"] for row in rows]
    written = [row[f"text_{lang}"] for row in read(TALKS / "train.jsonl")]
    shuffled, chance = [], []
    for seed in range(DRAWS):
        rng = random.Random(seed)
        shuffled.append(score(load_language(lang).metric, rng.sample(translated, len(translated)), references, lang))
        chance.append(score(load_language(lang).metric, rng.sample(written, len(references)), references, lang))
    print(f"\nAudio shuffled among the test sentences, {DRAWS} times: {_range(shuffled)}.")
    print(f"Sentences of the training split drawn at random instead, {DRAWS} times: {_range(chance)}.\n", flush=True)


def removal(run: Mapping[str, Any], rows: list[Row], lang: str) -> None:
    """The teacher without the layers the search chose, and without as many drawn at random; nothing is healed."""
    metric, removed = load_language(lang).metric, run["layers_removed"]
    task = load_language(lang).task
    fields = ("id", "audio", "sha256", "duration")
    utterances = [
        Utterance(**{name: row[name] for name in fields}, source=row["text_en"], target=row[f"text_{lang}"])
        for row in rows
    ]
    manifest = Manifest(TALKS, task, utterances)
    teacher = load(Path(run["systems"][0]["model_dir"]), device="cpu", dtype="float32")
    encoded = embed_prompts(teacher, manifest, batch_size=BATCH)
    whole = score(metric, hypotheses(run["systems"][0]), manifest.targets, lang)
    count = len(teacher.architecture.layers_of(teacher.model, "decoder"))
    free = [layer for layer in range(count) if layer not in protected_layers(count)]
    greedy = unhealed(teacher, encoded, removed)
    chosen = statistics(metric, greedy, manifest.targets, lang)
    print("| layers removed, not healed | score | of the greedy choice's score (95 % interval) |\n| --- | --- | --- |")
    print(f"| none: the teacher | {whole:.1f} | |")
    print(
        f"| chosen by the search: {_list(removed)} | {score(metric, greedy, manifest.targets, lang):.1f} | |",
        flush=True,
    )
    for seed in range(DRAWS):
        drawn = sorted(random.Random(seed).sample(free, len(removed)))
        texts = unhealed(teacher, encoded, drawn)
        ours = statistics(metric, texts, manifest.targets, lang)
        kept = retention(metric, ours, chosen, resamples=1000, confidence=0.95, seed=0)
        share = f"{kept.value:.1%}" if kept.value is not None else "undefined"
        interval = f" ({kept.interval[0]:.1%} to {kept.interval[1]:.1%})" if kept.interval else ""
        print(
            f"| at random, seed {seed}: {_list(drawn)} | {score(metric, texts, manifest.targets, lang):.1f} | "
            f"{share}{interval} |",
            flush=True,
        )


def unhealed(teacher: Translator, encoded: list[Any], layers: list[int]) -> list[str]:
    with without_layers(teacher, {"decoder": layers}):
        return decode(teacher, encoded, batch_size=BATCH, max_new_tokens=MAX_NEW_TOKENS)


def _list(layers: list[int]) -> str:
    return ", ".join(map(str, layers))


def _range(values: list[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"


if __name__ == "__main__":
    main()
