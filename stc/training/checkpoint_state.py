"""The state of a training that a checkpoint holds: values and tensors, taken from each part and put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from stc.workers.worker import current_group

_CODE_TABLES = ("qmap1", "qmap2")  # of moments in 8 bits; bitsandbytes has one of each for all weights
_SHARED = "all"
_OTHERS = "of other processes"


@dataclass(frozen=True)
class State:
    """Values that JSON can hold, and tensors by name. The tensors may be in use: a later step may change them."""

    values: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


class Stateful(Protocol):
    """Something that a training step changes."""

    def state(self) -> State:
        """Return the present state."""

    def load_state(self, state: State) -> None:
        """Take on a state. Its tensors are on the CPU and belong to a file, so tensors to keep are copied."""


class TrainedWeights:
    """Weights with their optimizer and its schedule. Only the end of a step changes them."""

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        self._parameters = parameters
        self._optimizer = optimizer
        self._scheduler = scheduler

    def state(self) -> State:
        tensors = {f"weights.{number}": one.detach() for number, one in enumerate(self._parameters)}
        counts: dict[str, dict[str, Any]] = {}
        for number, parameter in enumerate(self._in_optimizer_order()):
            for key, value in self._optimizer.state.get(parameter, {}).items():
                if key in _CODE_TABLES:
                    tensors[f"optimizer.{_SHARED}.{key}"] = value
                elif isinstance(value, Tensor):
                    tensors[f"optimizer.{number}.{key}"] = value
                else:
                    counts.setdefault(str(number), {})[key] = value
        return State({"schedule": self._scheduler.state_dict(), "counts": counts}, tensors)

    @torch.no_grad()
    def load_state(self, state: State) -> None:
        parameters = self._in_optimizer_order()
        counts: Mapping[str, Mapping[str, Any]] = state.values.get("counts", {})
        moments: dict[int, dict[str, Any]] = {int(number): dict(values) for number, values in counts.items()}
        tables: dict[str, Tensor] = {}
        for name, tensor in state.tensors.items():
            kind, number, *key = name.split(".")
            if kind == "weights":
                self._parameters[int(number)].copy_(tensor)
            elif number == _SHARED:
                tables[key[0]] = tensor.to(parameters[0].device, copy=True)
            else:
                moments.setdefault(int(number), {})[key[0]] = tensor.to(parameters[int(number)].device, copy=True)
        for entries in moments.values():
            if any(isinstance(one, Tensor) and one.dtype == torch.uint8 for one in entries.values()):
                entries |= tables
        # The optimizer's groups fit this device and stay; only their learning rates come from the schedule.
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})
        self._scheduler.load_state_dict(dict(state.values["schedule"]))
        for group, rate in zip(self._optimizer.param_groups, self._scheduler.get_last_lr(), strict=True):
            group["lr"] = rate

    def _in_optimizer_order(self) -> list[nn.Parameter]:
        return [one for group in self._optimizer.param_groups for one in group["params"]]

    def shapes(self) -> list[str]:
        """Return the type and shape of each weight."""
        return [f"{str(one.dtype).removeprefix('torch.')}{list(one.shape)}" for one in self._parameters]


class RandomState:
    """PyTorch's own random numbers (dropout draws them), on the CPU and on the training device.

    A training that continues on another kind of device leaves that device's random numbers as they are.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def state(self) -> State:
        tensors = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            tensors["cuda"] = torch.cuda.get_rng_state(self._device)
        return State(tensors=tensors)

    def load_state(self, state: State) -> None:
        torch.set_rng_state(state.tensors["cpu"])
        if self._device.type == "cuda" and "cuda" in state.tensors:
            torch.cuda.set_rng_state(state.tensors["cuda"], self._device)


class RecentLosses:
    """The losses of the steps since the last report, on the device where they were computed."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.each: list[Tensor] = []

    def state(self) -> State:
        return State(tensors={str(number): loss for number, loss in enumerate(self.each)})

    def load_state(self, state: State) -> None:
        self.each = [state.tensors[str(number)].to(self._device, copy=True) for number in range(len(state.tensors))]


class PerProcessState:
    """A part whose state differs between the processes that share a training.

    The checkpoint that the first process writes holds the state of all. A process that did not exist when it was
    written begins with its own.
    """

    def __init__(self, part: Stateful) -> None:
        self._part = part

    def state(self) -> State:
        """Return the state of all processes, which have to call this together."""
        own, *others = current_group().gather(self._part.state())
        tensors = {f"{rank}.{name}": one for rank, state in enumerate(others) for name, one in state.tensors.items()}
        values = {_OTHERS: [dict(state.values) for state in others]} if others else {}
        return State({**own.values, **values}, {**own.tensors, **tensors})

    def load_state(self, state: State) -> None:
        rank = current_group().rank
        others = state.values.get(_OTHERS, [])
        if rank == 0:
            own = {name: value for name, value in state.values.items() if name != _OTHERS}
            self._part.load_state(State(own, state.tensors))
        elif rank <= len(others):
            prefix = f"{rank - 1}."
            tensors = {name.removeprefix(prefix): one for name, one in state.tensors.items() if name.startswith(prefix)}
            self._part.load_state(State(others[rank - 1], tensors))
