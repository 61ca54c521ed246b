"""The optimizer's parameter groups, and the moving average of the weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_NO_DECAY = re.compile(r"(bias|pos_embed|pos_embed_window|cls_token|no_memory_embedding|_positions\.weight)$")


def parameter_groups(
    module: nn.Module, weight_decay: float, scale: Callable[[str], float] = lambda name: 1.0
) -> list[dict[str, Any]]:
    """For each learning rate up to three groups, none of them empty.

    They are: what maps features to features (`matrices`); tables and heads; norms, biases and position tables. The
    last goes without weight decay.

    Args:
        module: whose parameters, those that train.
        weight_decay: of the first two.
        scale: a parameter's name -> its learning rate in units of the base rate; becomes a group's "scale".
    """
    of_layers = {
        id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    }
    rates: dict[float, tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        matrices, tables, plain = rates.setdefault(scale(name), ([], [], []))
        if parameter.ndim < 2 or _NO_DECAY.search(name):
            plain.append(parameter)
        elif (id(parameter) in of_layers or name.endswith("in_proj_weight")) and "_head." not in name:
            matrices.append(parameter)
        else:
            tables.append(parameter)
    groups = []
    for factor, (matrices, tables, plain) in rates.items():
        groups += [
            {"params": matrices, "weight_decay": weight_decay, "matrices": True, "scale": factor},
            {"params": tables, "weight_decay": weight_decay, "matrices": False, "scale": factor},
            {"params": plain, "weight_decay": 0.0, "matrices": False, "scale": factor},
        ]
    return [group for group in groups if group["params"]]


class MovingAverage:
    """Exponential moving average of the weights that train; what is measured and saved.

    Args:
        module: whose weights; what is frozen is its own average.
        decay: of the average; None keeps none: the weights stand for themselves.
    """

    def __init__(self, module: nn.Module, decay: float | None) -> None:
        self.decay = decay
        self.updates = 0
        self.values: dict[str, Tensor] = {}
        if decay is not None:
            self.values = {
                name: parameter.detach().clone()
                for name, parameter in module.named_parameters()
                if parameter.requires_grad
            }

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move towards the module's weights; faster at first, so that random weights are soon forgotten."""
        if self.decay is None:
            return
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        weights = {name: parameter.detach() for name, parameter in module.named_parameters() if name in self.values}
        # On a GPU all in a few kernels.
        torch._foreach_lerp_([self.values[name] for name in weights], list(weights.values()), 1 - decay)

    @contextmanager
    def in_place(self, module: nn.Module) -> Iterator[None]:
        """Within the block the module has the average's weights."""
        self._exchange(module)
        try:
            yield
        finally:
            self._exchange(module)

    @torch.no_grad()
    def _exchange(self, module: nn.Module) -> None:
        for name, parameter in module.named_parameters():
            if name in self.values:
                current = parameter.detach().clone()
                parameter.copy_(self.values[name])
                self.values[name].copy_(current)
