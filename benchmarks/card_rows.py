"""The numbers that a model's card gives of an evaluation, by their names there."""

from __future__ import annotations

from typing import Any


def card_rows(metrics: dict[str, Any]) -> dict[str, float]:
    """In percent.

    Args:
        metrics: of `refersat.evaluation.report.metrics_of`, with the native protocol and presence.
    """
    native, presence = metrics["native"], metrics["presence"]
    numbers = {
        **{name: native[name] for name in ("mIoU", "oIoU", "Pr@0.5", "Pr@0.9")},
        "presence AUROC": presence["presence_auroc"],
        "absent phrases answered empty": presence["absent_accuracy"],
        "phrases with a target answered with a mask": presence["present_recall"],
        **{f"presence AUROC, {kind}": each["presence_auroc"] for kind, each in presence["by_type"].items()},
        **{f"mIoU, {kind}": each["mIoU"] for kind, each in native["by_type"].items()},
        **{f"mIoU, target {size} of the image": each["mIoU"] for size, each in native["by_size"].items()},
    }
    return {name: round(value, 2) for name, value in numbers.items()}
