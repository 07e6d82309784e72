"""The loss of speech translation: cross-entropy of the target's tokens, given audio, prompt and the tokens before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

from stc.data.collate import IGNORED, Batch
from stc.models.architecture import EncodedAudio

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for the labelled tokens of a batch, each given the true tokens before it.

    Attributes:
        logits: (labelled tokens, vocabulary), float32, utterance after utterance.
        targets: the true tokens, (labelled tokens,).
        states: the input of each decoder layer, (utterances, tokens, hidden) each; empty unless asked for.
        encoded: the encoder's output.
    """

    logits: Tensor
    targets: Tensor
    states: tuple[Tensor, ...]
    encoded: EncodedAudio


def predict(translator: Translator, batch: Batch, *, states: bool = False) -> Predictions:
    """Return the predictions of one pass over a batch.

    The head is applied at labelled positions only. Prompt and audio are most of a sequence, and with a vocabulary of
    156,032 their logits would take more memory than the rest of the pass.
    """
    model, architecture = translator.model, translator.architecture
    encoded = batch.encoded or architecture.encode_audio(model, batch.inputs)
    decoded = architecture.stack(model, "decoder")(
        inputs_embeds=architecture.embed(model, batch.inputs["input_ids"], encoded),
        attention_mask=batch.inputs["attention_mask"],
        use_cache=False,
        output_hidden_states=states,
    )
    following = batch.labels[:, 1:]  # a position predicts the token after it
    predicts = following != IGNORED
    logits = model.get_output_embeddings()(decoded.last_hidden_state[:, :-1][predicts])
    layer_inputs = decoded.hidden_states[:-1] if states else ()  # the last one is the final norm's output
    return Predictions(logits.float(), following[predicts], tuple(layer_inputs), encoded)


def cross_entropy(predictions: Predictions, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy in nats, summed over the labelled tokens."""
    return functional.cross_entropy(
        predictions.logits, predictions.targets, reduction="sum", label_smoothing=label_smoothing
    )


def translation_loss(translator: Translator, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
    """Return the teacher-forced cross-entropy in nats, summed over the labelled tokens of a batch."""
    return cross_entropy(predict(translator, batch), label_smoothing)
