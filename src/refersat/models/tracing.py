"""What may depend on the values of tensors, and what may not: a model that is exported must do with their sizes."""

from __future__ import annotations

import torch
from torch import Tensor


def surely(condition: Tensor) -> bool:
    """Whether bools of any shape are all true, as far as that can be known.

    False where there are no values: for tensors that have a size alone, and while a graph is made for inputs to come.
    So ask for what allows to do less.
    """
    return not condition.is_meta and not torch.compiler.is_exporting() and bool(condition.all())
