"""The proof of an export: a fresh process without stc loads it, and gets what it gets from the original."""

from __future__ import annotations

from dataclasses import dataclass

from stc.errors import StcError
from stc.export.history import ProofExample
from stc.verification.independent import CheckedModel, independent_translations


@dataclass(frozen=True)
class ProofResult:
    """What a fresh process got of an utterance from the export, and from the original."""

    utterance: str
    text: str
    original: str

    @property
    def same(self) -> bool:
        """False only for an adapter merged into bfloat16, where rounding may decide a close call another way."""
        return self.text == self.original


def prove(exported: CheckedModel, original: CheckedModel, example: ProofExample, device: str) -> ProofResult:
    """Translate an utterance with an export and with what it was made from.

    Raises:
        StcError: one of them does not load without stc, or a copy gives another text.
    """
    (text,), (before,) = independent_translations([exported, original], example.manifest, example.settings, device)
    proof = ProofResult(example.manifest.rows[0].id, text, before)
    merged = exported[1] is None and original[1] is not None
    if not proof.same and not merged:
        raise StcError(
            f"the export gives another text than the original for utterance {proof.utterance!r}, so it was not kept:\n"
            f"  original  {proof.original}\n  export    {proof.text}"
        )
    return proof
