"""A made-up run: what `metrics.json` holds, rows, and cases."""

import numpy as np
import pytest

from refersat.evaluation.cases import Case, Cases
from refersat.evaluation.metrics import PRECISION_THRESHOLDS
from refersat.evaluation.rows import SampleRow


def measures(miou, count, *, intervals=True):
    numbers = {"mIoU": miou, "oIoU": miou + 5, **{f"Pr@{t}": miou / 2 for t in PRECISION_THRESHOLDS}, "count": count}
    if intervals:
        numbers["intervals"] = {name: [value - 4, value + 3] for name, value in numbers.items() if name != "count"}
    return numbers


@pytest.fixture
def make_metrics():
    def make(*, data=None, **changes):
        groups = {
            "by_type": {"position": measures(40.0, 8), "unique": measures(60.0, 4, intervals=False)},
            "by_dataset": {"probe": measures(47.25, 12)},
            "by_size": {"<0.5%": measures(10.0, 6), ">8%": measures(70.0, 6)},
        }
        metrics = {
            "native": measures(47.25, 12) | groups,
            "480": measures(46.5, 12) | groups,
            "presence": {
                "absent_accuracy": 46.0,
                "presence_auroc": 72.5,
                "false_positive_area": 3.25,
                "count_absent": 3,
                "present_recall": 92.0,
                "count_present": 12,
                "by_type": {
                    "absent-category": {
                        "absent_accuracy": 46.0,
                        "presence_auroc": 72.5,
                        "false_positive_area": 3.25,
                        "count_absent": 3,
                    }
                },
            },
            "curves": {
                "thresholds": [0.25, 0.5, 0.75],
                "mIoU": [30.0, 47.25, 20.0],
                "oIoU": [35.0, 52.25, 25.0],
                "Pr@0.5": [20.0, 23.0, 10.0],
                "pixel_calibration": [
                    {"low": 0.0, "high": 0.5, "count": 900, "mean_probability": 0.1, "share_true": 0.05},
                    {"low": 0.5, "high": 1.0, "count": 0, "mean_probability": None, "share_true": None},
                ],
                "presence_calibration": [
                    {"low": 0.0, "high": 0.5, "count": 4, "mean_probability": 0.3, "share_true": 0.25},
                    {"low": 0.5, "high": 1.0, "count": 11, "mean_probability": 0.8, "share_true": 1.0},
                ],
            },
            "model": {"name": "built-in", "parameters": 1234567, "weights_sha256": {"model.safetensors": "9f" * 32}},
            "data": {
                "source": "triplets:probe",
                "split": "test",
                "samples": 15,
                "limit": None,
                "fingerprint": "ab" * 32,
            }
            | (data or {}),
            "run": {"refersat": "0.1.0", "threshold": 0.5, "command": "refersat evaluate --data triplets:probe"},
            "protocols": {"native": "the image's own pixels", "480": "480x480"},
            "rules": {"IoU": "intersection / union"},
        }
        return metrics | changes

    return make


@pytest.fixture
def make_row():
    def make(number=0, *, overlap=(50, 100), **fields):
        values = {
            "id": f"s{number}",
            "phrase": f"the ship {number}",
            "type": "unique",
            "category": None,
            "score": 0.75,
            "target_area": 60,
            "predicted_area": 90,
            "pixels": 1000,
            "present": True,
            "number": number,
            "overlaps": {} if overlap is None else {"native": overlap, "480": overlap},
        }
        return SampleRow(**values | fields)

    return make


@pytest.fixture
def make_case():
    def make(**fields):
        truth = np.zeros((60, 80), np.bool_)
        truth[10:30, 20:50] = True
        values = {
            "id": "s1",
            "phrase": "the ship",
            "type": "unique",
            "category": "ship",
            "score": 0.75,
            "iou": 0.5,
            "image": np.full((60, 80, 3), 90, np.uint8),
            "truth": truth,
            "prediction": np.roll(truth, 5, axis=1),
            "probability": np.roll(truth, 5, axis=1).astype(np.float32),
        }
        return Case(**values | fields)

    return make


@pytest.fixture
def make_cases():
    def make(**kinds):
        names = ("best", "worst", "random", "false_alarms")
        return Cases(**{name: tuple(kinds.get(name, ())) for name in names})

    return make
