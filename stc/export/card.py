"""The model card: what was done, how large and how good the result is, and how to use it.

The card leaves out what is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stc.export import vllm
from stc.export.history import History, ProofExample
from stc.export.portable import OLDEST
from stc.export.source import ExportForm
from stc.export.usage import example_code
from stc.metrics.metric import metric_named
from stc.metrics.sample_size import enough_sentences, sample_size_note
from stc.metrics.size import size_of
from stc.models.folder import ModelFolder
from stc.models.layout import AdapterSize
from stc.models.weights import attached_adapter
from stc.report.comparison import fairness_notes
from stc.report.output_notes import output_notes

CARD_FILE = "README.md"

# The names of the forms on the hub, and in the card.
RELATIONS: dict[ExportForm, str] = {"merged": "finetune", "quantized": "quantized", "adapter": "adapter"}
TITLES: dict[ExportForm, str] = {
    "merged": "a plain bfloat16 model",
    "quantized": "a quantized model",
    "adapter": "an adapter",
}


@dataclass(frozen=True)
class Card:
    """The content of a card.

    Attributes:
        model_class: the transformers class of the model, or of an adapter's base.
        conversation: the prompt of an utterance, for a chat template.
        vllm: as :func:`stc.export.vllm.refusals` returns it.
    """

    name: str
    form: ExportForm
    model_class: str
    conversation: list[dict[str, Any]]
    base_model: str | None
    license_id: str | None
    history: History
    example: ProofExample
    vllm: list[str] | None

    @property
    def title(self) -> str:
        return TITLES[self.form]

    def text(self, folder: Path) -> str:
        """Return the card of an exported folder: the hub's metadata, then Markdown. It ends in a newline."""
        task = self.example.manifest.task
        body = [
            self._metadata(),
            f"# {self.name}",
            f"Translates speech (language `{task.source_lang}`) into {task.target_name} text. This is "
            f"{self.title}, made with stc: speech translation compression.",
            *self._lineage(),
            *self._size(folder),
            *self._quality(),
            *self._use(folder),
            "## vLLM",
            self.vllm_statement(),
            *self._provenance(),
        ]
        return "\n\n".join(body) + "\n"

    def vllm_statement(self) -> str:
        """Return a few sentences that say whether vLLM can load the export."""
        checked = f"Checked against the source of vLLM {vllm.VERSION}, not run."
        if self.vllm is None:
            return "Not checked: stc knows what vLLM asks of Qwen2-Audio only."
        if not self.vllm:
            return f"Config, processor and weights are what vLLM's {self.model_class} loads. {checked}"
        return f"vLLM cannot load it: {'; '.join(self.vllm)}. {checked}"

    def _metadata(self) -> str:
        from huggingface_hub import ModelCardData

        task = self.example.manifest.task
        pruned = any(step.stage == "prune" for step in self.history.steps)
        data = ModelCardData(
            base_model=self.base_model,
            base_model_relation=RELATIONS[self.form] if self.base_model else None,
            language=[task.source_lang, task.target_lang],
            license=self.license_id,
            library_name="peft" if self.form == "adapter" else "transformers",
            pipeline_tag="audio-text-to-text",
            tags=["speech-translation", *(["pruned"] if pruned else []), "stc"],
        )
        return f"---\n{data.to_yaml().strip()}\n---"

    def _lineage(self) -> Iterator[str]:
        base = self.base_model or self.history.base
        lines = ([f"The base is {base}."] if base else []) + [step.sentence for step in self.history.steps]
        if lines:
            yield "## How it was made"
            yield "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))

    def _size(self, folder: Path) -> Iterator[str]:
        yield "## Size"
        if self.form == "adapter":
            adapter = AdapterSize.of_folder(folder)
            parameters, elements, size_on_disk = adapter.parameters, adapter.parameters, adapter.weight_bytes
        else:
            model = size_of(folder)
            parameters, elements, size_on_disk = model.parameters, model.packed_elements, model.bytes_on_disk
        figures = {"parameters": parameters, "packed elements": elements, "bytes on disk": size_on_disk}
        if found := self.history.measurement:
            device = found.device if found.device != "cpu" else f"the CPU ({found.machine.get('cpu')})"
            figures[f"peak memory on {device}, bytes"] = found.peak_memory_bytes
        yield _table(("figure", "value"), [(name, f"{figure:,}") for name, figure in figures.items()])
        subject = "the adapter alone, without its base" if self.form == "adapter" else "the model"
        yield f"These are of {subject}. A packed weight counts as the parameters it stands for."

    def _quality(self) -> Iterator[str]:
        scores, dataset = self.history.scores, self.history.dataset
        if scores is None:
            return
        yield "## Quality"
        split = self.history.test_record.get("spec", {}).get("config", {}).get("split")
        data = (f" of the split `{split}`" if split else "") + (f" of `{dataset}`" if dataset else "")
        yield f"On {scores.sentences:,} utterances{data}, one reference each:"
        rows = [
            (metric_named(name).heading, f"{metric.score:.2f}", f"`{metric.signature}`")
            for name, metric in scores.metrics.items()
        ]
        yield _table(("metric", "score", "signature"), rows)
        row = self.history.compared
        yield from output_notes([(row["name"], row)] if row and row.get("output_faults") else [])
        if row is None:
            return
        compared = row["compared"]
        yield from fairness_notes(compared)
        if row["retention"] is None:
            return
        metric = metric_named(compared["metric"])
        if row["name"] == compared["reference"]:
            yield f"It is the best unpruned system of its table, by {metric.title}."
            return
        retention = f"It keeps {100 * row['retention']:.1f} % of the {metric.better}"
        if row["retention_ci"] is not None and enough_sentences(scores.sentences):
            low, high = (100 * bound for bound in row["retention_ci"])
            retention += (
                f" ({100 * compared['confidence']:g} % interval {low:.1f} to {high:.1f}, by {compared['resamples']:,} "
                "paired bootstrap resamples)"
            )
        yield f"{retention} of `{compared['reference']}`, the best unpruned system of its table."
        if sample_size_note(scores.sentences):
            yield sample_size_note(scores.sentences)

    def _use(self, folder: Path) -> Iterator[str]:
        yield "## Use"
        is_adapter, has_adapter = self.form == "adapter", attached_adapter(folder) is not None
        # An adapter names the layers as transformers 5 does.
        oldest = "5" if is_adapter or has_adapter else OLDEST
        quantizer = None if is_adapter else ModelFolder.of(folder).quantizer
        packages = ["torch", f"transformers ({oldest} or later)", "accelerate", "soundfile"]
        packages += [quantizer.LIBRARY] if quantizer else []
        packages += ["peft"] if is_adapter or has_adapter else []
        yield f"With {', '.join(packages)} installed, and `utterance.wav` a recording of one channel:"
        code = example_code(
            self.name,
            self.model_class,
            self.conversation,
            self.example.settings,
            base=self.base_model if is_adapter else None,
            has_adapter=has_adapter,
            first_import=quantizer.IMPORT_BEFORE_LOADING if quantizer else None,
        )
        yield f"```python\n{code}\n```"

    def _provenance(self) -> Iterator[str]:
        yield "## Provenance"
        record = self.history.record
        sentences = []
        if record:
            versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
            sentences.append(
                f"Result `{record['identity']}` of stage `{record['spec']['stage']}`, made with {versions}."
            )
            if record.get("commit"):
                commit, changed = record["commit"]
                sentences.append(f"Commit of stc: `{commit}`{', with changes' if changed else ''}.")
        sentences.append(
            f"Before it was handed out, a fresh process without stc translated utterance "
            f"`{self.example.manifest.rows[0].id}` with it."
        )
        yield " ".join(sentences)


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    rules = ("---", *("---:" for _ in titles[1:]))
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, rules, *cells))
