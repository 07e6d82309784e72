"""The model card: what was done, how large and how good the result is, how to use it. What is not known is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stc.export import vllm
from stc.export.history import History, ProofExample
from stc.export.portable import OLDEST
from stc.export.source import ExportForm
from stc.export.usage import snippet
from stc.metrics.metric import metric_named
from stc.metrics.sample_size import enough_sentences, sample_size_note
from stc.metrics.size import bytes_on_disk
from stc.models.counting import ParameterCounts, count_parameters
from stc.models.folder import ModelFolder
from stc.models.layout import AdapterSize
from stc.models.weights import attached_adapter

CARD_FILE = "README.md"

# How hub and users name the forms.
RELATIONS: dict[ExportForm, str] = {"merged": "finetune", "quantized": "quantized", "adapter": "adapter"}
TITLES: dict[ExportForm, str] = {
    "merged": "a plain bfloat16 model",
    "quantized": "a quantized model",
    "adapter": "an adapter",
}


@dataclass(frozen=True)
class Card:
    """What a card is written from.

    Attributes:
        model_class: the transformers class of the model, or of an adapter's base.
        conversation: what is said to it about an utterance.
        vllm: as :func:`stc.export.vllm.refusals` gives it.
    """

    name: str
    form: ExportForm
    model_class: str
    conversation: list[dict[str, Any]]
    base_model: str | None
    license_id: str | None
    known: History
    example: ProofExample
    vllm: list[str] | None

    @property
    def title(self) -> str:
        return TITLES[self.form]

    def text(self, folder: Path) -> str:
        """The card of an exported folder, in Markdown with the hub's metadata before it. Ends in a newline."""
        task = self.example.manifest.task
        body = [
            self._metadata(),
            f"# {self.name}",
            f"Translates speech (language `{task.source_lang}`) into {task.target_name} text. This is "
            f"{self.title}, made with stc: speech translation compression.",
            *self._made(),
            *self._size(folder),
            *self._quality(),
            *self._use(folder),
            "## vLLM",
            self.vllm_statement(),
            *self._provenance(),
        ]
        return "\n\n".join(body) + "\n"

    def vllm_statement(self) -> str:
        """Whether vLLM can load the export, in one sentence or a few."""
        checked = f"Checked against the source of vLLM {vllm.VERSION}, not run."
        if self.vllm is None:
            return "Not checked: stc knows what vLLM asks of Qwen2-Audio only."
        if not self.vllm:
            return f"Config, processor and weights are what vLLM's {self.model_class} loads. {checked}"
        return f"vLLM cannot load it: {'; '.join(self.vllm)}. {checked}"

    def _metadata(self) -> str:
        from huggingface_hub import ModelCardData

        task = self.example.manifest.task
        prunes = any(step.stage == "prune" for step in self.known.steps)
        data = ModelCardData(
            base_model=self.base_model,
            base_model_relation=RELATIONS[self.form] if self.base_model else None,
            language=[task.source_lang, task.target_lang],
            license=self.license_id,
            library_name="peft" if self.form == "adapter" else "transformers",
            pipeline_tag="audio-text-to-text",
            tags=["speech-translation", *(["pruned"] if prunes else []), "stc"],
        )
        return f"---\n{data.to_yaml().strip()}\n---"

    def _made(self) -> Iterator[str]:
        base = self.base_model or self.known.base
        lines = ([f"The base is {base}."] if base else []) + [step.sentence for step in self.known.steps]
        if lines:
            yield "## How it was made"
            yield "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))

    def _size(self, folder: Path) -> Iterator[str]:
        yield "## Size"
        if self.form == "adapter":
            adapters = AdapterSize.of_folder(folder)
            counts, weight_bytes = ParameterCounts(adapters.parameters, adapters.parameters), adapters.weight_bytes
        else:
            counts, weight_bytes = count_parameters(folder), bytes_on_disk(folder)
        rows = [
            ("parameters", f"{counts.parameters:,}"),
            ("packed elements", f"{counts.packed_elements:,}"),
            ("bytes on disk", f"{weight_bytes:,}"),
        ]
        if found := self.known.measurement:
            on = found.device if found.device != "cpu" else f"the CPU ({found.machine.get('cpu')})"
            rows.append((f"peak memory on {on}, bytes", f"{found.peak_memory_bytes:,}"))
        yield _table(("figure", "value"), rows)
        what = "the adapter alone, without its base" if self.form == "adapter" else "the model"
        yield f"These are of {what}. A packed weight counts as the parameters it stands for."

    def _quality(self) -> Iterator[str]:
        if (scores := self.known.scores) is None:
            return
        split = self.known.tested.get("spec", {}).get("config", {}).get("split")
        where = f"{scores.sentences:,} utterances" + (f" of the split `{split}`" if split else "")
        yield "## Quality"
        yield f"On {where}" + (f" of `{self.known.dataset}`" if self.known.dataset else "") + ", one reference each:"
        rows = [
            (metric_named(name).heading, f"{metric.score:.2f}", f"`{metric.signature}`")
            for name, metric in scores.metrics.items()
        ]
        yield _table(("metric", "score", "signature"), rows)
        row = self.known.compared
        if row is None or row["retention"] is None:
            return
        compared = row["compared"]
        if row["name"] == compared["reference"]:
            yield f"It is the best unpruned system of its table, by {metric_named(compared['metric']).title}."
            return
        kept = f"It keeps {100 * row['retention']:.1f} % of the {metric_named(compared['metric']).better}"
        if row["retention_ci"] is not None and enough_sentences(scores.sentences):
            low, high = (100 * bound for bound in row["retention_ci"])
            kept += (
                f" ({100 * compared['confidence']:g} % interval {low:.1f} to {high:.1f}, by {compared['resamples']:,} "
                "paired bootstrap resamples)"
            )
        yield f"{kept} of `{compared['reference']}`, the best unpruned system of its table."
        if sample_size_note(scores.sentences):
            yield sample_size_note(scores.sentences)

    def _use(self, folder: Path) -> Iterator[str]:
        yield "## Use"
        attached = attached_adapter(folder) is not None
        # An adapter is for layers by the names they have since transformers 5.
        oldest = "5" if attached or self.form == "adapter" else OLDEST
        transformers = f"transformers ({oldest} or later)"
        packed_by = None if self.form == "adapter" else ModelFolder.of(folder).quantizer
        further = [packed_by.LIBRARY] if packed_by else []
        further += ["peft"] if attached or self.form == "adapter" else []
        needs = ["torch", transformers, "accelerate", "soundfile", *further]
        yield f"With {', '.join(needs)} installed, and `utterance.wav` a recording of one channel:"
        code = snippet(
            self.name,
            self.model_class,
            self.conversation,
            self.example.settings,
            base=self.base_model if self.form == "adapter" else None,
            attached=attached,
            registers=packed_by.IMPORT_BEFORE_LOADING if packed_by else None,
        )
        yield f"```python\n{code}\n```"

    def _provenance(self) -> Iterator[str]:
        yield "## Provenance"
        record = self.known.record
        lines = []
        if record:
            versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
            lines.append(f"Result `{record['identity']}` of stage `{record['spec']['stage']}`, made with {versions}.")
            if record.get("commit"):
                commit, changed = record["commit"]
                lines.append(f"Commit of stc: `{commit}`{', with changes' if changed else ''}.")
        lines.append(
            f"Before it was handed out, a fresh process without stc translated utterance "
            f"`{self.example.manifest.rows[0].id}` with it."
        )
        yield " ".join(lines)


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    rules = ("---", *("---:" for _ in titles[1:]))
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, rules, *cells))
