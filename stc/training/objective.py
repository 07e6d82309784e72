"""The loss of speech translation: cross-entropy of the target's tokens, given audio, prompt and what precedes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from stc.data.collate import IGNORED, Batch

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator


def translation_loss(translator: Translator, batch: Batch, label_smoothing: float = 0.0) -> torch.Tensor:
    """Teacher-forced cross-entropy in nats, summed over the labelled tokens of the batch.

    The head is applied at those positions only: prompt and audio are most of a sequence, and over a vocabulary of
    156,032 their logits would take more memory than the rest of the pass.
    """
    model, architecture = translator.model, translator.architecture
    heard = batch.heard or architecture.hear(model, batch.inputs)
    embedded = architecture.embed(model, batch.inputs["input_ids"], heard)
    mask = batch.inputs["attention_mask"]
    hidden = architecture.decoder(model)(inputs_embeds=embedded, attention_mask=mask, use_cache=False).last_hidden_state
    following = batch.labels[:, 1:]  # a position predicts the token after it
    predicts = following != IGNORED
    logits = model.get_output_embeddings()(hidden[:, :-1][predicts])
    return functional.cross_entropy(
        logits.float(), following[predicts], reduction="sum", label_smoothing=label_smoothing
    )
