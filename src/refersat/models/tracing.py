"""What may depend on the values of tensors, and what may not: a model that is exported must do with their sizes."""

from __future__ import annotations

import torch
from torch import Tensor


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor has values and not a size alone, and no graph is being made for inputs to come."""
    return not tensor.is_meta and not torch.compiler.is_exporting()


def surely(condition: Tensor) -> bool:
    """Whether bools of any shape are all true, as far as that can be known.

    False where there are no values: so ask for what allows to do less.
    """
    return has_values(condition) and bool(condition.all())
