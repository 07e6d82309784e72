"""The common base of stages that translate, and files of texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stc.data.manifest import Manifest
from stc.decoding.options import GREEDY, Decoding
from stc.decoding.output_formats import join_segments
from stc.models.compute_options import Compute
from stc.pipeline.stage import Context
from stc.system.console import progress
from stc.system.machine import DECODE_BATCH
from stc.system.text_lines import one_line

if TYPE_CHECKING:
    from stc.decoding.features import KnownStates
    from stc.models.load_and_save import Translator


class TranslationSettings(Compute):
    """The settings by which a model translates.

    Attributes:
        max_new_tokens: longer translations are cut off.
    """

    max_new_tokens: int = Field(ge=1, le=1024)

    def translate(
        self,
        translator: Translator,
        manifest: Manifest,
        ctx: Context,
        decoding: Decoding = GREEDY,
        features: KnownStates | None = None,
        cut_off: set[int] | None = None,
    ) -> list[str]:
        """Return the translations of a manifest, in its order. If ``decoding`` draws several for an utterance, they
        follow each other. Arguments and errors are those of :func:`stc.decoding.greedy.translate`; only greedy decoding
        says what is cut off."""
        batch, tokens = ctx.decode_batch, self.max_new_tokens
        settings: dict[str, Any] = {"batch_size": batch, "max_new_tokens": tokens, "features": features}
        with ctx.progress("translating", total=len(manifest), unit="utterance") as bar:
            if decoding.method == "greedy":
                from stc.decoding.greedy import translate

                return translate(translator, manifest, **settings, progress=bar, cut_off=cut_off)
            from stc.decoding.transformers_generate import translate_by_beams_or_sampling

            several = translate_by_beams_or_sampling(translator, manifest, decoding, **settings, progress=bar)
        return [text for texts in several for text in texts]

    def translate_for_command(
        self,
        translator: Translator,
        manifest: Manifest,
        name: str,
        batch_size: int | None = None,
        cut_off: set[int] | None = None,
    ) -> list[str]:
        """Return the translations of a manifest, in its order, outside of a pipeline: greedily, with a progress bar.

        Args:
            name: of the system, for the bar.
            batch_size: utterances at a time; None for the default of the model's device.
            cut_off: as in :func:`stc.decoding.greedy.translate`.

        Raises:
            InputError, StcError: as :func:`stc.decoding.greedy.embed_prompts`.
        """
        device = translator.model.device.type
        context = Context(
            device=device,
            workers=1,
            train_micro_batch=1,
            decode_batch=batch_size or DECODE_BATCH[device],
            scratch=Path(),
            log=lambda metrics, step=None: None,
            progress=lambda title, total, unit="it": progress(f"{name}: {title}", total, unit),
        )
        return self.translate(translator, manifest, context, cut_off=cut_off)


def join_parts(manifest: Manifest, texts: Sequence[str]) -> list[str]:
    """Return the translations of a manifest in its ``lines``: those of the parts of an utterance are joined."""
    pairs = groupby(zip(manifest.rows, texts, strict=True), lambda pair: pair[0].part_of or pair[0].id)
    return [join_segments([text for _, text in parts]) for _, parts in pairs]


def lines_with(manifest: Manifest, rows: Iterable[int]) -> int:
    """Return how many of the ``lines`` of a manifest have one of these rows in them."""
    return len({manifest.rows[row].part_of or manifest.rows[row].id for row in rows})


def write_texts(path: Path, texts: Iterable[str]) -> None:
    """Write one text a line, each as :func:`stc.system.text_lines.one_line` returns it."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(one_line(text) + "\n" for text in texts)


def read_texts(path: Path) -> list[str]:
    """Return the texts of a file, one a line. Only a newline, as on Unix or Windows, ends a line: texts from elsewhere
    may contain a lone carriage return or U+2028."""
    with path.open(encoding="utf-8", newline="\n") as file:
        return [line.removesuffix("\r") for line in file.read().removesuffix("\n").split("\n")]
