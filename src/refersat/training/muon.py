"""Muon: the momentum of a matrix, made orthogonal, as its update; Adam for all that is no matrix.

Trained from scratch on few images, models of this package learn in fewer steps than with AdamW. Source: Jordan et
al., "Muon: an optimizer for hidden layers in neural networks" (2024), with the step size of Liu et al., "Muon is
scalable for LLM training" (arXiv 2502.16982, section 2.2), by which learning rates for AdamW carry over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_ITERATION = (3.4445, -4.7750, 2.0315)
"""Of a quintic that moves every singular value near 1 in five steps."""

_ADAM_STEP_SIZE = 0.2
"""Root mean square of a typical AdamW update, in learning rates."""


class Muon(Optimizer):
    """One optimizer with two rules; every parameter group says with `matrices` which one is its own.

    Args:
        groups: as for any optimizer of PyTorch; `matrices` True: tensors of two dimensions or more, the first of
            which counts outputs.
        learning_rate: of both rules.
        momentum: decay of the gradient's average under Muon (with Nesterov's look ahead).
        betas: of Adam.
        dtype: number format of the orthogonalisation, which needs no more than bfloat16.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        learning_rate: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(groups, {"lr": learning_rate, "weight_decay": 0.0, "matrices": False})
        self.momentum = momentum
        self.betas = betas
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            update_of = self._orthogonal if group["matrices"] else self._adam
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update = update_of(parameter.grad, self.state[parameter])
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])

    def _orthogonal(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        average: Tensor = state.setdefault("momentum", torch.zeros_like(gradient))
        average.lerp_(gradient, 1 - self.momentum)
        ahead = gradient.lerp(average, self.momentum).flatten(1)
        update = orthogonalise(ahead.to(self.dtype)).to(gradient.dtype).view_as(gradient)
        return update * (_ADAM_STEP_SIZE * math.sqrt(max(ahead.shape)))

    def _adam(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        first, second = self.betas
        step: int = state.get("step", 0) + 1
        state["step"] = step
        mean: Tensor = state.setdefault("mean", torch.zeros_like(gradient)).lerp_(gradient, 1 - first)
        square: Tensor = state.setdefault("square", torch.zeros_like(gradient)).lerp_(gradient.square(), 1 - second)
        return mean / (1 - first**step) / ((square / (1 - second**step)).sqrt() + 1e-8)


def orthogonalise(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T (M, N): singular values end between 0.7 and 1.2 (Newton-Schulz iteration)."""
    a, b, c = _ITERATION
    wide: Tensor = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
