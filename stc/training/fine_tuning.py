"""The common base of the stages that fine-tune: fields, inputs and the training itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stc.data.manifest import Manifest, describe_amount, utterance_count
from stc.distillation.options import TokenDistillation
from stc.errors import InputError, ModelError
from stc.models import describe_depth
from stc.models.compute_options import Compute
from stc.pipeline.stage import Context, Inputs, StageInput
from stc.store.artifact import Artifact, Kind
from stc.training.recipe import QLORA, Recipe
from stc.workers.stage import ParallelStage

if TYPE_CHECKING:
    from torch import nn

    from stc.decoding.features import FeatureReader
    from stc.distillation.token_level import Teacher
    from stc.models.load_and_save import Translator
    from stc.training.loop import TrainingResult


class FineTuning(Recipe, ParallelStage):
    """A stage that trains a model on ``train``, by a recipe.

    With ``distillation`` it learns from a model, ``teacher``, which gets every batch too, or from the teacher's
    ``logits`` for the same manifest. Hidden states are compared layer by layer. For this the model must have all layers
    of the teacher, or the fact ``layers_removed`` must say which are gone; trained models inherit this fact.

    ``features`` are the encoder's output for the recordings of ``train``, and ``dev_features`` for those of ``dev``, in
    float32. They are used if the model's own encoder would give the same: if it is not trained, not quantized and
    computes in float32, and the audio is not augmented.

    Attributes:
        distillation: the settings of learning from a teacher at every token.
    """

    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "model": StageInput(Kind.MODEL),
        "train": StageInput(Kind.MANIFEST),
        "dev": StageInput(Kind.MANIFEST, optional=True),
        "teacher": StageInput(Kind.MODEL, optional=True),
        "logits": StageInput(Kind.LOGITS, optional=True),
        "features": StageInput(Kind.FEATURES, optional=True),
        "dev_features": StageInput(Kind.FEATURES, optional=True),
    }

    distillation: TokenDistillation | None = None

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        return {"quantizer_version": self.quant.VERSION} if self.quant else {}

    def unused_inputs(self, given: Collection[str]) -> Iterator[str]:
        other_encoder = "encoder" in self.parts or self.method == "qlora" or self.weights_dtype != "float32"
        if other_encoder or self.augment:
            yield "features"
        if other_encoder or "dev" not in given:
            yield "dev_features"

    def invalid_inputs(self, given: Collection[str]) -> Iterator[tuple[str, str]]:
        if self.patience is not None and "dev" not in given:
            yield "dev", f"patience={self.patience} needs held-out data to stop by"
        sources = [name for name in ("teacher", "logits") if name in given]
        if self.distillation is None:
            for name in sources:
                yield name, "nothing is learnt from it without distillation: give distillation, or leave it out"
        elif len(sources) != 1:
            yield "teacher", f"distillation learns from either teacher or logits; given: {', '.join(sources) or 'none'}"
        elif sources == ["logits"] and self.distillation.hidden:
            yield "logits", "has no hidden states: distillation.hidden must be 0, or a teacher given"

    @classmethod
    def describe(cls, config: Mapping[str, Any], facts: Mapping[str, Any], data: Mapping[str, Any]) -> str:
        parts = ", ".join(config["parts"])
        how = f"every weight of {parts}"
        if lora := config.get("lora"):
            how = f"adapters of rank {lora['r']} on the linear layers of {parts}"
            if config["method"] == "qlora":
                how += f", over a base packed by {(config.get('quant') or {'method': QLORA})['method']}"
        epochs = f"{config['epochs']} epoch{'s' * (config['epochs'] > 1)}"
        teacher = ", learning a teacher's distribution at every token" if config.get("distillation") else ""
        return (
            f"Fine-tuned: {how}; {epochs} in batches of {config['batch_size']} at a learning rate of at most "
            f"{config['learning_rate']:g}{_describe_data(data)}{teacher}."
        )

    def activity(self, inputs: Inputs) -> str:
        model, amount = describe_depth(inputs["model"].path), describe_amount(inputs["train"])
        how = "fine-tuning" if self.lora is None else f"training adapters of rank {self.lora.r} for"
        return f"{how} the {model} on {amount}{self._steps_in_words(inputs['train'])}"

    def _steps_in_words(self, train: Artifact) -> str:
        from stc.training.data_order import batches_per_epoch

        if (count := utterance_count(train)) is None:
            return ""
        steps = self.epochs * batches_per_epoch(count, self.batch_size)
        return f", {'at most ' * (self.patience is not None)}{steps:,} step{'s' * (steps != 1)}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        (facts,) = self.run_shares(inputs, {"out_dir": str(out_dir.absolute())}, ctx)
        return dict(facts)

    def fit(
        self, student: Translator, parameters: Sequence[nn.Parameter], inputs: Inputs, ctx: Context
    ) -> TrainingResult:
        from stc.training.fit_translator import fit

        dev = inputs.get("dev")
        return fit(
            student,
            parameters,
            Manifest.load(inputs["train"].path),
            self,
            ctx,
            dev=None if dev is None else Manifest.load(dev.path),
            teacher=self._teacher(student, inputs, ctx),
            features=self.features("features", inputs, student),
            dev_features=self.features("dev_features", inputs, student),
        )

    def features(self, name: str, inputs: Inputs, student: Translator) -> FeatureReader | None:
        """Return the features of an input, or None if there are none or they are not used.

        Raises:
            InputError: they are of another encoder, or were computed with other settings.
        """
        from stc.decoding.features import features_of

        given = None if name in self.unused_inputs(inputs) else inputs.get(name)
        return features_of(given, inputs["model"], student, Compute(dtype=self.weights_dtype))

    def train_adapters(self, inputs: Inputs, folder: Path, ctx: Context) -> tuple[Translator, TrainingResult, int]:
        """Train new adapters, and write them to ``folder``.

        Returns:
            the base with the adapters on it, the result, and the number of trained parameters.

        Raises:
            ModelError: the model is quantized.
        """
        from stc.training.acceleration.dequantize import dequantized_base
        from stc.training.acceleration.lora import fast_adapters
        from stc.training.adapters import adapter_parameters, add_adapters, load_base, save_adapters
        from stc.workers.worker import current_group

        refuse_quantized(inputs["model"])
        base = load_base(inputs["model"].path, self, ctx.device)
        wrapped = add_adapters(base, self)
        parameters = adapter_parameters(wrapped)
        with dequantized_base(base.model, ctx.unpack, ctx.device), fast_adapters(wrapped):
            result = self.fit(base, parameters, inputs, ctx)
        if current_group().is_first:
            save_adapters(wrapped, folder)
        return base, result, sum(parameter.numel() for parameter in parameters)

    def facts(
        self,
        inputs: Inputs,
        result: TrainingResult,
        trainable: int,
        translator: Translator,
        dev_features: FeatureReader | None,
        ctx: Context,
    ) -> dict[str, Any]:
        """Return the facts of a training of ``trainable`` parameters, with the held-out loss of ``translator``."""
        from stc.models.folder import count_parameters
        from stc.training.teacher_forcing import TeacherForcing

        added = trainable if self.method != "full" else 0
        facts: dict[str, Any] = {
            "trainable_parameters": trainable,
            "trainable_share": trainable / (count_parameters(inputs["model"].path).parameters + added),
            "steps": result.steps,
            "train_loss": result.loss,
        }
        if result.best_epoch is not None:
            facts |= {"dev_losses": list(result.dev_losses), "best_epoch": result.best_epoch}
        facts |= inherited_facts(inputs["model"])
        if dev := inputs.get("dev"):
            held_out = TeacherForcing(translator, Manifest.load(dev.path), ctx, features=dev_features)
            facts["dev_loss"] = held_out.loss()
        return facts

    def _teacher(self, student: Translator, inputs: Inputs, ctx: Context) -> Teacher | None:
        from stc.distillation import cached_logits
        from stc.distillation.token_level import CachedTeacher, OnlineTeacher
        from stc.models.load_and_save import load

        if self.distillation is None:
            return None
        if logits := inputs.get("logits"):
            if logits.facts["data"] != inputs["train"].identity:
                raise InputError(
                    f"{logits.path} has the logits of another manifest than the training data, {inputs['train'].path}"
                )
            if logits.facts["temperature"] != self.distillation.temperature:
                raise InputError(
                    f"distillation.temperature={self.distillation.temperature:g}: {logits.path} has the logits at "
                    f"{logits.facts['temperature']:g}"
                )
            return CachedTeacher(cached_logits.read(logits.path), self.distillation)
        precision = "float32" if self.precision == "float32" else "bfloat16"
        teacher = load(inputs["teacher"].path, device=ctx.device, dtype=precision)
        teacher.model.requires_grad_(False)
        layers = _teacher_layers(inputs, student, teacher) if self.distillation.hidden else []
        return OnlineTeacher(teacher, student, layers, self.distillation)


def refuse_quantized(model: Artifact) -> None:
    """Raise a ModelError if the model is quantized."""
    from stc.models import read_config
    from stc.quantization import quantizer_of

    if quantizer_of(read_config(model.path)) is not None:
        raise ModelError(
            f"{model.path} is quantized: fine-tuning starts from bfloat16 weights, method qlora quantizes them itself"
        )


def inherited_facts(model: Artifact) -> dict[str, Any]:
    """Return the facts of a model that also hold for the models trained from it."""
    return {key: model.facts[key] for key in ("layers_removed", "encoder_layers_removed") if key in model.facts}


def _teacher_layers(inputs: Inputs, student: Translator, teacher: Translator) -> list[int]:
    """Return, for each decoder layer of the student, its number in the teacher."""
    count, teacher_count = (len(one.architecture.layers_of(one.model, "decoder")) for one in (student, teacher))
    removed = inputs["model"].facts.get("layers_removed", [])
    layers = [layer for layer in range(teacher_count) if layer not in removed]
    if len(layers) != count:
        raise InputError(
            f"distillation.hidden: {inputs['model'].path} has {count} decoder layers and is not known to be "
            f"{inputs['teacher'].path}, which has {teacher_count}, without some of them; hidden: 0 compares none"
        )
    return layers


def _describe_data(facts: Mapping[str, Any]) -> str:
    if parts := facts.get("parts"):  # of joined data
        described = "; ".join(f"{name}{_describe_data(part)}" for name, part in parts.items())
        return f", on {facts['utterances']:,} utterances: {described}"
    if "pairs" in facts:
        return (
            f", on {facts['pairs']:,} pairs of speech and text: {facts['originals']:,} from the data, the others "
            "translations by the model that was to be imitated (sequence-level distillation)"
        )
    if "utterances" in facts:
        hours = f" ({facts['seconds'] / 3600:.3g} hours)" if "seconds" in facts else ""
        return f", on {facts['utterances']:,} utterances{hours}"
    return ""
