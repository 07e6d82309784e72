"""The settings of decoding. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stc.decoding.output_patterns import loop, without_lead_in, without_quotes
from stc.errors import Fault, field_error
from stc.system.field_types import EachOnce, Seed

_SETTINGS_OF: Mapping[str, tuple[str, ...]] = {
    "greedy": (),
    "beam": ("beams",),
    "sample": ("temperature", "top_p", "samples", "seed"),
}


class OutputRules(BaseModel):
    """The rules by which finished texts are edited (:mod:`stc.decoding.output_patterns`). By default there are none.

    Attributes:
        strip: ``preamble``, a lead-in such as "Here is the translation:"; ``quotes``, quotation marks around all of a
            text.
        stop_repetition: a text ends with the first copy of a phrase that would be said this often in a row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Not in an identity unless they are given, so that older results stay valid. The order of names does not matter.
    strip: Annotated[list[Literal["preamble", "quotes"]], EachOnce, AfterValidator(sorted)] = Field(
        default=[], exclude_if=lambda strip: not strip
    )
    stop_repetition: int | None = Field(default=None, ge=2, le=100, exclude_if=lambda times: times is None)

    @property
    def removes_something(self) -> bool:
        """Return whether any text can change."""
        return bool(self.strip or self.stop_repetition)

    def apply(self, text: str) -> str:
        """Return a text without what is to be removed. A repetition is cut off last."""
        if "preamble" in self.strip:
            text = without_lead_in(text)
        if "quotes" in self.strip:
            text = without_quotes(text)
        return text if self.stop_repetition is None else text[: loop(text, self.stop_repetition)]

    def told(self, before: Sequence[str], after: Sequence[str]) -> dict[str, Any]:
        """Return the fact that texts were changed by rules: which, and of how many texts; empty without rules."""
        if not self.removes_something:
            return {}
        changed = sum(one != other for one, other in zip(before, after, strict=True))
        return {"output_rules": {"strip": self.strip, "stop_repetition": self.stop_repetition, "changed": changed}}


class Decoding(OutputRules):
    """A decoding method and its settings.

    Settings that the method does not read must be None, so that nobody believes to have beams without beam search. A
    ``seed`` is dropped unless the method samples, so that it is not in the identity.

    Attributes:
        method: ``greedy``, the most probable token at every step; ``beam``, beam search (Kim and Rush 2016 distil
            from it); ``sample``, tokens drawn by their probability.
        beams: the number of hypotheses at each step.
        temperature: of the distribution; the default is 1.
        top_p: tokens are drawn from the smallest set with this total probability (Holtzman et al. 2020, arXiv
            1904.09751); the default is 1.
        samples: translations of each utterance; the default is 1.
        seed: of the sampling.
    """

    method: Literal["greedy", "beam", "sample"] = "greedy"
    beams: int | None = Field(default=None, ge=2, le=64)
    temperature: float | None = Field(default=None, gt=0, le=10)
    top_p: float | None = Field(default=None, gt=0, le=1)
    samples: int | None = Field(default=None, ge=1, le=100)
    seed: Seed | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        stated = {key: value for key, value in given.items() if value is not None}
        if stated.get("method") == "sample":
            return {"temperature": 1.0, "top_p": 1.0, "samples": 1, **stated}
        return {key: value for key, value in stated.items() if key != "seed"}

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        read = _SETTINGS_OF[self.method]
        chosen = ("method", self.method)
        faults = []
        for method, names in _SETTINGS_OF.items():
            for name in names:
                value = getattr(self, name)
                if name in read and value is None:
                    faults.append(Fault(*chosen, f"method {self.method} needs {name}", others=((name, None),)))
                if name not in read and value is not None:
                    allowed = f"is read by method {method} only, and the method is {self.method}"
                    faults.append(Fault(name, value, allowed, others=(chosen,)))
        if faults:
            raise field_error(*faults)
        return self


GREEDY = Decoding()
