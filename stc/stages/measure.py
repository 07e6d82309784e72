"""measure: size, speed and peak memory of a model on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stc.metrics.score_files import Measurement
from stc.models.compute_options import Compute
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind
from stc.system.machine import fingerprint


class Measure(Compute, Stage):
    """Measures the size and speed of one system, for a :class:`stc.metrics.score_files.Measurement`.

    A new process translates the first ``utterances`` of the data one at a time, then in batches. The result is valid
    for one machine, whose fingerprint is part of the identity.

    Facts: the measurement, without the machine.
    """

    VERSION: ClassVar[int] = 4
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL), "data": StageInput(Kind.MANIFEST)}
    GIVES: ClassVar[Kind] = Kind.MEASUREMENT

    utterances: int = Field(ge=1)
    max_new_tokens: int = Field(ge=1, le=1024)

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        return {**fingerprint(), "device": ctx.device, "decode_batch": ctx.decode_batch}

    def activity(self, inputs: Inputs) -> str:
        return f"measuring size, speed and memory on {self.utterances} utterances"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        import torch

        from stc.metrics.size import size_of
        from stc.metrics.speed import SpeedRequest, measure_speed

        model: Path = inputs["model"].path
        request = SpeedRequest(
            model=str(model),
            data=str(inputs["data"].path),
            utterances=self.utterances,
            device=ctx.device,
            dtype=self.dtype,
            attention=self.attention,
            max_new_tokens=self.max_new_tokens,
            decode_batch=ctx.decode_batch,
            threads=torch.get_num_threads(),
        )
        measurement = Measurement(
            **size_of(model).model_dump(),
            decode_batch=ctx.decode_batch,
            device=ctx.device,
            threads=request.threads,
            machine=fingerprint(),
            **measure_speed(request).model_dump(),
        )
        measurement.save(out_dir)
        return measurement.model_dump(exclude={"machine"})
