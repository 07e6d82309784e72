"""What the stages that translate have in common: their fields, the translating, and how texts lie on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stc.data.manifest import Manifest
from stc.decoding.options import GREEDY, Decoding
from stc.models.options import Compute
from stc.pipeline.stage import Context
from stc.system.text_lines import one_line

if TYPE_CHECKING:
    from stc.decoding.features import FeatureReader
    from stc.models.checkpoint import Translator


class TranslationSettings(Compute):
    """Translation by a model folder.

    Attributes:
        max_new_tokens: where a translation is cut off that has not ended by then.
    """

    max_new_tokens: int = Field(ge=1, le=1024)

    def load_model(self, model: Path, ctx: Context) -> Translator:
        """A folder's model, to compute as the fields say.

        Raises:
            ModelError: the folder is no complete model.
        """
        from stc.models.checkpoint import load

        return load(model, device=ctx.device, dtype=self.dtype, attention=self.attention)

    def translate(
        self,
        translator: Translator,
        manifest: Manifest,
        ctx: Context,
        decoding: Decoding = GREEDY,
        features: FeatureReader | None = None,
    ) -> list[str]:
        """One text an utterance, in the manifest's order; where ``decoding`` draws several, they follow each other.

        Args:
            features: what the encoder makes of the recordings, where that is known; no audio is read then.

        Raises:
            InputError: audio is unreadable, not the one the manifest lists, or longer than the model's window; or the
                features lack it.
        """
        limits: dict[str, Any] = {
            "batch_size": ctx.decode_batch,
            "max_new_tokens": self.max_new_tokens,
            "features": features,
        }
        with ctx.progress("translating", total=len(manifest), unit="utterance") as bar:
            if decoding.method == "greedy":
                from stc.decoding.greedy import translate

                return translate(translator, manifest, **limits, progress=bar)
            from stc.decoding.beam_and_sampling import generate

            several = generate(translator, manifest, decoding, **limits, progress=bar)
        return [text for texts in several for text in texts]


def write_texts(path: Path, texts: Iterable[str]) -> None:
    """Write one text a line, each as :func:`stc.system.text_lines.one_line` has it."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(one_line(text) + "\n" for text in texts)


def read_texts(path: Path) -> list[str]:
    """Return the texts of a file, one a line. Lines end in a newline, or as Windows has it, and in nothing else: a text
    that others have written may hold a lone carriage return, or U+2028."""
    with path.open(encoding="utf-8", newline="\n") as file:
        return [line.removesuffix("\r") for line in file.read().removesuffix("\n").split("\n")]
