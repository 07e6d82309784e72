"""Training a model from random weights: its vocabulary, its data and its two objectives."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

import torch

from stc.data.collate import IGNORED, Batch, pad
from stc.data.manifest import Manifest
from stc.decoding.token_loss import translation_loss
from stc.models.create_qwen2_audio import SPECIAL, build_processor
from stc.pipeline.stage import Context
from stc.training.acceleration.gradient_checkpointing import gradient_checkpointing
from stc.training.augmented_corpus import Corpus
from stc.training.data_order import batches
from stc.training.loop import TrainingResult, train
from stc.training.recipe import Optimisation
from talks.training.ctc import Characters, CtcHead

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator
    from talks.stages.pretrain import Spelling


@dataclass(frozen=True)
class SpeechBatch:
    """A batch with the source texts spelled in characters.

    Attributes:
        positions: the encoder positions of each utterance, without padding.
        spellings: the characters of the sources, (utterances, longest), padded.
        letters: the number of characters of each source.
        weights: the target tokens of each utterance, (utterances,), float32.
    """

    translation: Batch
    positions: list[int]
    spellings: torch.Tensor
    letters: list[int]
    weights: torch.Tensor

    @property
    def tokens(self) -> int:
        return self.translation.tokens


class SpelledCorpus(Corpus):
    """A corpus whose batches also have the characters of each source."""

    def __init__(self, translator: Translator, manifests: Sequence[Manifest], seed: int, ctx: Context) -> None:
        super().__init__(translator, manifests, seed, ctx)
        sources = [row.source for manifest in manifests for row in manifest.rows]
        self.characters = Characters(sources)
        self._spellings = [self.characters.encode(source) for source in sources]

    def spelled_batch(self, indices: Sequence[int]) -> SpeechBatch:
        """Return the batch of :meth:`Corpus.batch` with the spellings of its examples."""
        translation, positions = self.batch_with_positions(indices)
        spellings = [self._spellings[index] for index in indices]
        return SpeechBatch(
            translation,
            positions,
            pad(spellings, 0).to(translation.labels.device),
            [len(spelling) for spelling in spellings],
            (translation.labels != IGNORED).sum(dim=1).float(),
        )


def train_from_scratch(
    translator: Translator,
    manifests: Sequence[Manifest],
    settings: Optimisation,
    steps: int,
    spelling: Spelling,
    ctx: Context,
) -> TrainingResult:
    """Train all of a model on the examples of all manifests together. The model is left in eval mode.

    In each utterance, the spelling loss per character is multiplied by the number of target tokens. So both objectives
    are means over tokens, and their sum does not depend on how a batch is cut.
    """
    corpus = SpelledCorpus(translator, manifests, settings.seed, ctx)
    torch.manual_seed(settings.seed)
    ctc_head = CtcHead(translator, len(corpus.characters)).to(ctx.device, translator.model.dtype)
    model = translator.model
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def loss(batch: SpeechBatch, step: int) -> torch.Tensor:
        weight = spelling.weight if step < spelling.share * steps else spelling.later
        translation = translation_loss(translator, batch.translation, settings.label_smoothing)
        spelling_losses = ctc_head.losses(batch.positions, batch.spellings, batch.letters)
        return translation + weight * (spelling_losses * batch.weights).sum()

    model.train()
    with gradient_checkpointing(model, ctx.gradient_checkpointing):
        result = train(
            [*parameters, *ctc_head.parameters()],
            batches(corpus.lengths, settings.batch_size, settings.seed),
            steps,
            corpus.spelled_batch,
            loss,
            settings,
            ctx,
            title="training from scratch",
            stateful={"corpus": corpus},
        )
    ctc_head.detach()
    model.eval()
    return result


def learn_processor(manifests: Sequence[Manifest], vocab_size: int, window_seconds: int, mel_bins: int) -> Any:
    """Return a processor whose vocabulary is learnt from the targets and their prompts.

    Every training example starts with its prompt, so a vocabulary with the prompt's words makes all examples shorter.
    """
    from stc.models import architecture

    blank = build_processor([], vocab_size, window_seconds, mel_bins)  # for its chat template
    special = re.compile("|".join(map(re.escape, SPECIAL)))

    def texts() -> Iterator[str]:
        for manifest in manifests:
            yield from manifest.targets
            prompt = architecture("qwen2_audio").prompt(blank, manifest.task)
            for piece in special.split(prompt):
                yield from repeat(piece, len(manifest))

    return build_processor(texts(), vocab_size, window_seconds, mel_bins)
