"""The hand-in for the compression track of IWSLT 2026: one file a test set, and a description to paste and to check."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stc.errors import InputError
from stc.metrics.metric import metric_named
from stc.metrics.score_files import Scores
from stc.models import read_config
from stc.report.comparison import fairness_notes
from stc.submit.system import SubmittedSystem
from stc.submit.test_sets import TestSet
from stc.system.text_lines import one_line

PAIRS = ("en-de", "en-ar", "en-zh")
CONDITIONS = ("constrained", "unconstrained")
FAMILY = "qwen2_audio"
DESCRIPTION, DESCRIPTION_JSON = "description.md", "description.json"
_WORD = re.compile(r"[A-Za-z0-9-]+")  # an underscore would separate parts of the model's name
_TEST_SET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LISTED = 20


@dataclass(frozen=True)
class Entry:
    """The name that the organisers give a model: ``TEAM_IWSLT26_ModelCompression_PAIR_CONDITION_TYPE``.

    Attributes:
        condition: ``constrained`` or ``unconstrained``.
        submission: ``primary``, ``contrastive``, or ``contrastive2``: the task's page does not say how several are told
            apart.
    """

    team: str
    condition: str
    submission: str

    def __post_init__(self) -> None:
        if not _WORD.fullmatch(self.team):
            raise InputError(f"--team {self.team!r}: a short name of letters, digits and '-' is needed, such as KIT")

    def model_name(self, language_pair: str) -> str:
        return f"{self.team}_IWSLT26_ModelCompression_{language_pair}_{self.condition}_{self.submission}"


def check_system(system: SubmittedSystem, entry: Entry) -> None:
    """Check what can be told before anything is translated.

    Raises:
        InputError: the task has no such language pair, or excludes the model or its data.
    """
    if system.language_pair not in PAIRS:
        raise InputError(f"{system.name} translates {system.language_pair}: the task has {', '.join(PAIRS)}")
    if (family := read_config(system.source.folder)["model_type"]) != FAMILY:
        raise InputError(f"{system.source.folder} is a {family}: the task takes models derived from Qwen2-Audio")
    if entry.condition == "constrained" and not system.only_acl6060:
        raise InputError(
            f"--track constrained allows the data ACL 60/60 only, and the model was made with "
            f"{', '.join(system.datasets)}: hand it in with --track unconstrained, or, if that is ACL 60/60 under "
            "another name, name it data.name=acl6060 in the run"
        )


def test_set_name(name: str) -> str:
    """Return a name that can be part of a file's name.

    Raises:
        InputError: it cannot.
    """
    if not _TEST_SET.fullmatch(name):
        raise InputError(
            f"--test {name}: a name of letters, digits, '.', '_' and '-' is needed; a file is called by it"
        )
    return name


def write(
    out: Path, system: SubmittedSystem, entry: Entry, test_sets: Sequence[TestSet], *, allow_empty: bool = False
) -> list[Path]:
    """Write a hand-in into a new or an empty folder, and return its files.

    Raises:
        InputError: something is wrong with the translations, and nothing is written; or the folder cannot be written.
    """
    pair = system.language_pair
    files = {f"{one.name}.{pair}.txt": one for one in test_sets}
    faults = [fault for file, one in files.items() for fault in _faults(file, one, allow_empty)]
    if faults:
        more = f"\n  and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        raise InputError("the hand-in would not be valid:\n  " + "\n  ".join(faults[:_LISTED]) + more)
    facts = _facts(system, entry)
    facts["test_sets"] = [
        {"name": one.name, "file": file, "lines": len(one.texts), "empty_lines": _empty_lines(one)}
        for file, one in files.items()
    ]
    contents = {file: "".join(f"{text}\n" for text in one.texts) for file, one in files.items()}
    contents[DESCRIPTION] = _described(facts)
    contents[DESCRIPTION_JSON] = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (out / name).write_text(content, encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(f"{out} cannot be written to: {error.strerror}") from None
    return [out / name for name in contents]


def _faults(file: str, test_set: TestSet, allow_empty: bool) -> Iterator[str]:
    if len(test_set.texts) != len(test_set.segments):
        yield f"{file} has {len(test_set.texts)} lines for {len(test_set.segments)} segments"
        return
    empty = set() if allow_empty else set(_empty_lines(test_set))
    for number, (text, segment) in enumerate(zip(test_set.texts, test_set.segments, strict=True), start=1):
        where = f"{file}, line {number} ({segment})"
        if number in empty:
            yield f"{where} is empty (--allow-empty hands it in so)"
        if text != one_line(text):
            yield f"{where} has a line break in it"
        if text.startswith("\ufeff"):
            yield f"{where} begins with a byte order mark"


def _empty_lines(test_set: TestSet) -> list[int]:
    return [number for number, text in enumerate(test_set.texts, start=1) if not text.strip()]


def _facts(system: SubmittedSystem, entry: Entry) -> dict[str, Any]:
    """Return what the description says; of what is optional, only what is known."""
    history, size = system.history, system.size
    facts: dict[str, Any] = {
        "task": "iwslt2026",
        "model_name": entry.model_name(system.language_pair),
        "language_pair": system.language_pair,
        "condition": entry.condition,
        "submission": entry.submission,
        "storage_bytes": system.storage_bytes,
        "weight_bytes": size.bytes_on_disk,
        "parameters": size.parameters,
        "packed_elements": size.packed_elements,
        "decoder_layers": size.decoder_layers,
        "encoder_layers": size.encoder_layers,
        "base": history.base_model or history.base,
        "techniques": list(system.techniques),
        "datasets": list(system.datasets),
    }
    if system.rules.removes_something:
        facts["removed_from_texts"] = system.rules.model_dump(mode="json")
    if (scored := system.hypotheses.with_name(Scores.FILE)).is_file():
        scores = Scores.load(scored.parent)
        facts["scores"] = {
            name: {"score": one.score, "signature": one.signature} for name, one in scores.metrics.items()
        }
        facts["scored_sentences"] = scores.sentences
        facts["notes"] = fairness_notes((history.compared or {}).get("compared", {}))
    if (measured := history.measurement) is not None:
        keys = ("device", "rtf", "rtf_batched", "decode_batch", "peak_memory_bytes", "peak_memory_batched_bytes")
        facts["speed"] = {key: getattr(measured, key) for key in keys}
    record = history.record
    facts["made_with"] = {"result": record["identity"], "commit": record.get("commit"), **record["versions"]}
    return facts


def _described(facts: dict[str, Any]) -> str:
    """Return the description as text for the server's form. It ends in a newline."""
    lines = [
        f"# {facts['model_name']}",
        f"- Exact storage size: {facts['storage_bytes']} bytes, every file of the model; "
        f"{facts['weight_bytes']} bytes of them are weights",
        f"- Number of parameters: {facts['parameters']}, where a packed weight counts as the parameters that it stands "
        f"for; {facts['packed_elements']} elements are stored",
        f"- Layers: {facts['decoder_layers']} in the decoder, {facts['encoder_layers']} in the audio encoder",
        *([f"- Base: {facts['base']}"] if facts["base"] else []),
        "- Compression techniques:",
        *(f"  {number}. {one}" for number, one in enumerate(facts["techniques"], start=1)),
        f"- Data sets: {', '.join(facts['datasets'])}",
    ]
    if removed := facts.get("removed_from_texts"):
        rules = ", ".join(f"{name} {value}" for name, value in removed.items())
        lines.append(f"- Removed from translations by rules of stc: {rules}")
    for name, one in facts.get("scores", {}).items():
        heading = metric_named(name).heading
        lines.append(
            f"- {heading} on {facts['scored_sentences']} sentences of the run's own test set: {one['score']:.2f} "
            f"({one['signature']})"
        )
    lines += [f"- {note}" for note in facts.get("notes", ())]
    if speed := facts.get("speed"):
        lines.append(
            f"- Real-time factor on {speed['device']}: {speed['rtf']:.3f} one utterance at a time, "
            f"{speed['rtf_batched']:.3f} with {speed['decode_batch']} at a time; peak memory "
            f"{speed['peak_memory_bytes']} and {speed['peak_memory_batched_bytes']} bytes"
        )
    made = facts["made_with"]
    commit, changed = made["commit"] or ("not known", False)
    lines.append(f"- Made with stc {made['stc']}, commit {commit}{' with changes' * changed}, result {made['result']}")
    return "\n".join(lines) + "\n"
