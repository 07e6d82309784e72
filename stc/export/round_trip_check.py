"""The proof of an export: a process without stc translates the same with it as with the original."""

from __future__ import annotations

from dataclasses import dataclass

from stc.errors import StcError
from stc.export.history import ProofExample
from stc.verification.independent import CheckedModel, independent_translations


@dataclass(frozen=True)
class ProofResult:
    """The translations of an utterance by the export and by the original, in a process without stc."""

    utterance: str
    text: str
    original: str

    @property
    def is_same(self) -> bool:
        """Return whether the texts are equal. Merging an adapter rounds to bfloat16, which may change them."""
        return self.text == self.original


def prove(exported: CheckedModel, original: CheckedModel, example: ProofExample, device: str) -> ProofResult:
    """Translate an utterance with an export and with what it was made from.

    Raises:
        StcError: one of them does not load without stc, or a copy gives another text.
    """
    models = [exported, original]
    (text,), (before,) = independent_translations(models, example.manifest, example.settings, device)
    proof = ProofResult(example.manifest.rows[0].id, text, before)
    merged = exported[1] is None and original[1] is not None
    if not proof.is_same and not merged:
        raise StcError(
            f"the export gives another text than the original for utterance {proof.utterance!r}, so it was deleted:\n"
            f"  original  {proof.original}\n  export    {proof.text}"
        )
    return proof
