"""The processes that `torchrun` or `accelerate launch` started together, if they did."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

_PATIENCE = timedelta(days=30)
"""One process may be done long before another; what breaks down is ended by the launcher."""


@dataclass(frozen=True)
class Group:
    """Processes with one task, of which this is number `index` of `count`, and number `local` on its machine."""

    index: int = 0
    count: int = 1
    local: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.index == 0

    def share(self, value: Any) -> Any:
        """What the main process holds; the others' `value` is ignored."""
        if self.count == 1:
            return value
        import torch.distributed

        shared = [value]
        torch.distributed.broadcast_object_list(shared, src=0)
        return shared[0]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            import torch.distributed

            torch.distributed.barrier()


@contextmanager
def process_group() -> Iterator[Group]:
    """The group of this process, alone if no launcher says otherwise by its environment variables."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Group()
        return
    import torch.distributed

    # Only small objects are exchanged, so gloo does on GPUs, too.
    torch.distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        index = torch.distributed.get_rank()
        yield Group(index, torch.distributed.get_world_size(), int(os.environ.get("LOCAL_RANK", index)))
    finally:
        torch.distributed.destroy_process_group()
