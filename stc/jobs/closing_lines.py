"""The last lines of a run: its result in one sentence, the model, and the commands that work on it."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count as count_up
from pathlib import Path
from typing import Any

from stc.data.manifest import Manifest
from stc.pipeline.graph import Pipeline
from stc.pipeline.runner import Evaluation, NodeResult
from stc.report.run_table import summarize
from stc.store.artifact import Kind
from stc.system.paths import short_path
from stc.system.tables import WIDTH


def closing_lines(systems: Sequence[Mapping[str, Any]], run: Path, lang: str, recording: Path | None) -> str:
    """Return the lines about the last of the systems. The commands work as they are, from the current folder.

    Args:
        run: the run's folder.
        lang: the language it translates into.
        recording: one to try the model on; None if there is none at hand.
    """
    model = systems[-1]["model_dir"]
    audio = "talk.wav" if recording is None else short_path(recording)
    names = (f"exported/{systems[-1]['name']}{f'-{number}' if number > 1 else ''}" for number in count_up(1))
    new_folder = next(name for name in names if not Path(name).exists())
    return "\n".join(
        [
            textwrap.fill(summarize(systems), WIDTH),
            f"model: {short_path(model)}",
            "translate with it, and export it:",
            f"  {_command('stc.translate', short_path(model), audio, '--lang', lang)}",
            f"  {_command('stc.export', short_path(run), new_folder)}",
        ]
    )


def left_out_lines(results: Iterable[NodeResult]) -> Iterator[str]:
    """Yield a line for each data set that lacks utterances of its split, or has them in parts."""
    meanings = {
        "left_out": "left out, longer than the model's window",
        "cut": "cut in pauses, longer than the model's window",
        "dropped": "left out, in another split as well",
    }
    for one in results:
        if one.artifact.kind is Kind.MANIFEST:
            for fact, meaning in meanings.items():
                if count := one.artifact.facts.get(fact):
                    yield f"{one.name}: {count:,} utterance{'s' * (count != 1)} {meaning}"


def example_recording(evaluation: Evaluation, pipeline: Pipeline) -> Path | None:
    """Return a recording that a run has translated for its scores, if it is in the store."""
    for node in map(pipeline.nodes.__getitem__, pipeline.required_nodes()):
        if node.kind is Kind.SCORES and "data" in node.inputs:
            folder = evaluation.artifact(str(node.inputs["data"])).path
            if folder.is_dir():
                return Manifest.load(folder).audio_paths()[0]
    return None


def _command(module: str, *arguments: str) -> str:
    return shlex.join([short_path(sys.executable), "-m", module, *arguments])
