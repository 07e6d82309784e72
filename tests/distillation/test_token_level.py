"""Learning from a teacher at every token: what the loss is, and that it does not depend on how a batch is cut."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from stc.data.audio import read_batch
from stc.data.collate import IGNORED, Batch, Collator
from stc.data.manifest import Manifest
from stc.decoding.token_loss import cross_entropy, predict
from stc.distillation.cached_logits import TopK
from stc.distillation.options import TokenDistillation
from stc.distillation.token_level import CachedTeacher, OnlineTeacher, divergence, hidden_error
from stc.models.layer_removal import drop_layers
from stc.models.load_and_save import Translator, load
from stc.training.fit_translator import select_trainable

SETTINGS = TokenDistillation(weight=1.0, reverse=0.0, temperature=1.0, hidden=0.0)


@pytest.fixture(scope="module")
def teacher(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.fixture
def student(tiny_model: Path) -> Translator:
    """Two of six layers gone; only the decoder is trained."""
    translator = load(tiny_model, device="cpu", dtype="float32")
    drop_layers(translator, "decoder", {2, 3})
    select_trainable(translator, ["decoder"])
    return translator


def batch_of(translator: Translator, folder: Path, numbers: list[int]) -> Batch:
    manifest = Manifest.load(folder)
    collator = Collator.of(translator, manifest.task)
    rows = [manifest.rows[number] for number in numbers]
    audio = read_batch(manifest, rows, 16000, workers=1)
    return collator.pairs([row.id for row in rows], audio, [row.target for row in rows])


def logprobs(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    return functional.log_softmax(logits / temperature, dim=-1)


def test_divergence_is_forward_or_reverse_or_a_mixture() -> None:
    torch.manual_seed(0)
    ours, theirs = logprobs(torch.randn(5, 7)), logprobs(torch.randn(5, 7))
    p, q = theirs.exp(), ours.exp()
    forward, reverse = (p * (p / q).log()).sum(), (q * (q / p).log()).sum()
    torch.testing.assert_close(divergence(ours, theirs, 0), forward)
    torch.testing.assert_close(divergence(ours, theirs, 1), reverse)
    torch.testing.assert_close(divergence(ours, theirs, 0.25), 0.75 * forward + 0.25 * reverse)


def test_temperature_softens_both_and_its_square_keeps_the_gradient_s_size(
    teacher: Translator, student: Translator, tiny_manifest: Path
) -> None:
    batch = batch_of(teacher, tiny_manifest, [1])
    with torch.no_grad():
        ours, theirs = predict(student, batch), predict(teacher, batch)
        warm = OnlineTeacher(teacher, student, [], SETTINGS.model_copy(update={"temperature": 2.0}))
        found = warm.loss(batch, [], ours, 0.0)
    torch.testing.assert_close(found, 4 * divergence(logprobs(ours.logits, 2), logprobs(theirs.logits, 2), 0))


def test_forward_divergence_has_the_gradient_of_cross_entropy_with_the_teachers_distribution() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(5, 7, requires_grad=True), torch.randn(5, 7)
    (found,) = torch.autograd.grad(divergence(logprobs(ours), logprobs(theirs), 0), ours)
    soft = functional.cross_entropy(ours, functional.softmax(theirs, -1), reduction="sum")
    (expected,) = torch.autograd.grad(soft, ours)
    torch.testing.assert_close(found, expected)


def test_a_model_has_nothing_to_learn_from_itself(teacher: Translator, tiny_manifest: Path) -> None:
    batch = batch_of(teacher, tiny_manifest, [0, 5])
    beside = OnlineTeacher(teacher, teacher, range(6), SETTINGS.model_copy(update={"hidden": 1.0}))
    with torch.no_grad():
        loss = beside.loss(batch, [], predict(teacher, batch, states=True), 0.0)
    assert float(loss) == pytest.approx(0.0, abs=1e-3)


def test_the_rest_of_the_weight_is_cross_entropys(
    teacher: Translator, student: Translator, tiny_manifest: Path
) -> None:
    batch = batch_of(teacher, tiny_manifest, [1, 2])
    with torch.no_grad():
        ours = predict(student, batch)
        whole = OnlineTeacher(teacher, student, [], SETTINGS).loss(batch, [], ours, 0.1)
        half = OnlineTeacher(teacher, student, [], SETTINGS.model_copy(update={"weight": 0.5})).loss(
            batch, [], ours, 0.1
        )
    torch.testing.assert_close(half, 0.5 * whole + 0.5 * cross_entropy(ours, 0.1))


def test_hidden_states_are_compared_with_those_at_the_layers_that_were_kept(
    teacher: Translator, student: Translator, tiny_manifest: Path
) -> None:
    batch = batch_of(teacher, tiny_manifest, [3])
    settings = SETTINGS.model_copy(update={"hidden": 2.0})
    with torch.no_grad():
        ours, theirs = predict(student, batch, states=True), predict(teacher, batch, states=True)
        found = OnlineTeacher(teacher, student, [0, 1, 4, 5], settings).loss(batch, [], ours, 0.0)
        tokens = int((batch.labels != IGNORED).sum())
        errors = [
            (ours.states[place] - theirs.states[layer]).square().sum() / theirs.states[layer].square().sum()
            for place, layer in [(1, 1), (2, 4), (3, 5)]
        ]
    expected = divergence(logprobs(ours.logits), logprobs(theirs.logits), 0) + 2 * tokens * sum(errors) / 3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert float(errors[0]) == 0  # up to the first removed layer both are the same


def test_the_loss_of_a_batch_is_the_sum_of_its_utterances(
    teacher: Translator, student: Translator, tiny_manifest: Path
) -> None:
    beside = OnlineTeacher(
        teacher, student, [0, 1, 4, 5], TokenDistillation(weight=0.7, reverse=0.3, temperature=2, hidden=1)
    )
    losses = []
    with torch.no_grad():
        for numbers in ([0, 7], [0], [7]):  # of very different lengths, so that padding would show
            batch = batch_of(teacher, tiny_manifest, numbers)
            losses.append(beside.loss(batch, [], predict(student, batch, states=True), 0.0))
    torch.testing.assert_close(losses[0], losses[1] + losses[2], rtol=1e-4, atol=1e-3)


def test_padding_adds_nothing_to_the_hidden_error(teacher: Translator, tiny_manifest: Path) -> None:
    batch = batch_of(teacher, tiny_manifest, [0, 7])
    with torch.no_grad():
        states = predict(teacher, batch, states=True).states
        other = [state + 100 * (1 - batch.inputs["attention_mask"][..., None]) for state in states]
        assert float(hidden_error(other, states, batch)) == 0


def test_teacher_encodes_audio_itself_if_the_encoders_differ(
    teacher: Translator, student: Translator, tiny_manifest: Path
) -> None:
    alike = OnlineTeacher(teacher, student, [], SETTINGS)
    assert alike.shares_encoder
    with torch.no_grad():
        next(student.model.model.audio_tower.parameters()).mul_(2)
    apart = OnlineTeacher(teacher, student, [], SETTINGS)
    assert not apart.shares_encoder
    batch = batch_of(teacher, tiny_manifest, [4])
    with torch.no_grad():
        ours, theirs = predict(student, batch), predict(teacher, batch)
        expected = divergence(logprobs(ours.logits), logprobs(theirs.logits), 0)
        torch.testing.assert_close(apart.loss(batch, [], ours, 0.0), expected)
        deaf = replace(ours, encoded=replace(ours.encoded, states=torch.zeros_like(ours.encoded.states)))
        torch.testing.assert_close(apart.loss(batch, [], deaf, 0.0), expected)


def test_trained_encoder_is_not_shared_with_the_teacher(teacher: Translator, tiny_model: Path) -> None:
    student = load(tiny_model, device="cpu", dtype="float32")
    select_trainable(student, ["encoder", "decoder"])
    assert not OnlineTeacher(teacher, student, range(6), SETTINGS).shares_encoder


@pytest.mark.parametrize("reverse", [0.0, 0.5])
def test_a_cache_of_the_whole_vocabulary_teaches_what_the_model_would(
    teacher: Translator, student: Translator, tiny_manifest: Path, reverse: float
) -> None:
    settings = TokenDistillation(weight=0.8, reverse=reverse, temperature=2.0, hidden=0.0)
    batch = batch_of(teacher, tiny_manifest, [5, 2])
    with torch.no_grad():
        ours, theirs = predict(student, batch), predict(teacher, batch)
        counts = (batch.labels != IGNORED).sum(dim=1).tolist()
        cache = TopK.of(theirs.logits, theirs.logits.shape[-1], 2.0).split(counts)
        online = OnlineTeacher(teacher, student, [], settings).loss(batch, [], ours, 0.0)
        cached = CachedTeacher([cache[1], cache[0]], settings).loss(batch, [1, 0], ours, 0.0)
    torch.testing.assert_close(cached, online)


def test_fewer_tokens_in_the_cache_never_give_a_larger_divergence(
    teacher: Translator, student: Translator, tiny_manifest: Path
) -> None:
    batch = batch_of(teacher, tiny_manifest, [5])
    with torch.no_grad():
        ours, theirs = predict(student, batch), predict(teacher, batch)
        losses = [
            float(CachedTeacher([TopK.of(theirs.logits, k, 1.0)], SETTINGS).loss(batch, [0], ours, 0.0))
            for k in (1, 8, 64, 384)
        ]
    assert 0 < losses[0] < losses[1] < losses[2] < losses[3]
