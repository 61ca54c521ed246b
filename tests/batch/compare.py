"""What two batches about the same rows have in common: everything but the time that it took."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

RUNS_OWN = ("batch.json", "lock", "results.csv")


def answers(out: Path) -> dict[str, Any]:
    """Every file of a finished batch by its path, with its bytes; times and hosts are left out of records."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or name in RUNS_OWN:
            continue
        found[name] = _record(path) if path.name == "record.json" else path.read_bytes()
    found["results.csv"] = [{**row, "seconds": ""} for row in csv.DictReader((out / "results.csv").open())]
    return found


def _record(path: Path) -> dict[str, Any]:
    record = json.loads(path.read_bytes())
    for name in ("seconds", "host"):
        record.pop(name)
    for answer in record["answers"]:
        answer.pop("seconds")
    return record
