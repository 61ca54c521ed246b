"""What the loop trains, whatever the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from refersat.training.recipe import LossOptions


class AnyTrainee(nn.Module, ABC):
    """A model with its training-only heads, as one module so that all gradients are shared between processes.

    Attributes:
        model: a `PreTrainedModel`.
        weights: of the loss terms; a stage of the schedule may change them.
        shards: layers that a sharded run spreads one by one.
    """

    shards: ClassVar[tuple[type[nn.Module], ...]] = ()
    model: Any
    weights: LossOptions

    @abstractmethod
    def forward(self, batch: Any, totals: Any = None) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """The losses of a batch, or of a part of the batch that `totals` are of.

        Returns:
            The weighted loss (scalar), its terms before weighting (scalars, detached), and for each of the B phrases
            the terms that it has of its own (B,), detached. Added up over all parts, loss and terms are those of the
            whole batch.
        """
