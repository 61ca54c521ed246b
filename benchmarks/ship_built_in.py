"""Put a trained model into the package as `built-in`: choose its presence threshold, measure it, write its card.

python benchmarks/ship_built_in.py runs/built-in --data triplets:runs/val --machine "2 CPU cores"

Several runs are stages of one training that went on from run to run (`init.model`): the model is that of the last. With
`--continued` the first of them went on from the model in the package, whose steps and hours come first.
The threshold is the score that all but `--lost` percent of the phrases with a target reach. The numbers in the card
are those of `refersat evaluate --model built-in --dtype float32` on the same data, which anyone can run again. Without
a run the model stays as it is, and is measured again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from card_rows import card_rows

import refersat
from refersat.data.samples import Sample
from refersat.data.triplets import read_triplets
from refersat.evaluation.protocol import PROTOCOLS
from refersat.evaluation.report import metrics_of, presence_line, results_table
from refersat.evaluation.rows import Evaluation
from refersat.evaluation.run import evaluate_samples
from refersat.models import zoo
from refersat.models.store import write_sums
from refersat.models.zoo import BUILT_IN, CARD_FILE, ModelCard
from refersat.training.run_folder import FACTS_FILE

ASSETS = Path(refersat.__file__).parent / "assets" / BUILT_IN
COMMAND = (
    "refersat train built-in --out runs/built-in --set data.annotations=nwpu-vhr10/train.json "
    "--set data.images=nwpu-vhr10/images --set data.validation=runs/val"
)
HOURS = " h of steps, validations not counted"
CALIBRATION_STEP = 5
"""Every fifth sample is enough for a percentile."""

NOTES = (
    "Knows ten kinds of object: airplane, ship, storage tank, baseball diamond, tennis court, basketball court, ground "
    "track field, harbor, bridge, vehicle. Anything else is a guess.",
    "Understands phrases about category, place in the image, extremes, size, simple relations and groups.",
    "Single objects are found first, whatever their kind, at most 64 of an image; then those that the phrase means are "
    "chosen.",
    "The score joins SAM 2's object score and that of the likeliest object; phrases that name nothing in the image "
    "trained both.",
)


def main() -> None:
    """Copy, calibrate, measure, describe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", help="folder of the training run, or of several in their order")
    parser.add_argument("--model", type=Path, help="folder, instead of that of the last run: an average, for one")
    parser.add_argument("--data", required=True, help="validation data, triplets:FOLDER")
    parser.add_argument("--machine", help="what it was trained on, in words")
    parser.add_argument("--weights", help="what the model of --model is, in words")
    parser.add_argument("--lost", type=float, default=5.0, help="percent of right phrases that may be answered empty")
    parser.add_argument("--threshold", type=float, help="of presence, instead of --lost")
    parser.add_argument("--continued", action="store_true", help="the training began with the model in the package")
    arguments = parser.parse_args()
    if arguments.runs and arguments.machine is None:
        parser.error("--machine is missing: what was the model trained on?")
    before = json.loads((ASSETS / CARD_FILE).read_text())["training"] if arguments.continued else {}
    samples = read_triplets(arguments.data.removeprefix("triplets:")).samples

    if not arguments.runs:
        metrics = metrics_of(_evaluate(samples))
        _print(metrics)
        _keep(replace(zoo.card(BUILT_IN), measured=_measured(metrics)))
        return
    ASSETS.mkdir(parents=True, exist_ok=True)
    for file in (arguments.model or arguments.runs[-1] / "model").iterdir():
        if file.name != FACTS_FILE:  # the card tells what matters of them
            shutil.copyfile(file, ASSETS / file.name)
    threshold, reason = arguments.threshold, "lower than calibrated, for other kinds of images"
    if threshold is None:
        _set_threshold(0.0)
        present = [row.score for row in _evaluate(samples[::CALIBRATION_STEP]).rows if row.overlaps]
        threshold = round(float(np.percentile(present, arguments.lost)), 4)
        reason = f"{100 - arguments.lost:g} % of the phrases with a target reach it"
    _set_threshold(threshold)
    evaluation = _evaluate(samples)
    metrics = metrics_of(evaluation)
    _print(metrics)
    _write_card(arguments, f"{threshold}: {reason}", metrics, before)


def _set_threshold(threshold: float) -> None:
    path = ASSETS / "config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"presence_threshold": threshold}, indent=2, sort_keys=True) + "\n"
    )


def _evaluate(samples: Sequence[Sample]) -> Evaluation:
    from rich.progress import Progress

    with Progress() as progress:
        task = progress.add_task("evaluating", total=len(samples))
        return evaluate_samples(
            refersat.load(BUILT_IN, device="cpu", dtype="float32"),
            samples,
            protocols=list(PROTOCOLS.values()),
            on_sample=lambda: progress.advance(task),
        )


def _print(metrics: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(width=140)
    console.print(results_table(metrics))
    console.print(presence_line(metrics))
    threshold = json.loads((ASSETS / "config.json").read_text())["presence_threshold"]
    console.print(f"presence threshold: {threshold}")


def _write_card(arguments: argparse.Namespace, threshold: str, metrics: dict[str, Any], before: dict[str, str]) -> None:
    logs = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in arguments.runs]
    steps = [max(entry["step"] for entry in log) for log in logs]
    hours = [sum(entry.get("seconds", 0.0) for entry in log) / 3600 for log in logs]
    card = ModelCard(
        name=BUILT_IN,
        summary="Compact RS2-SAM 2 for ten kinds of object, trained from scratch; ships with the package.",
        licence="Research use only, as its training images.",
        data=(
            "NWPU VHR-10 (Cheng et al. 2014; outlines Su et al. 2019), 476 training images from Google Earth, for "
            "research use only; phrases generated by refersat. Chosen on 54 other images of it."
        ),
        paper="Rong et al., RS2-SAM2, AAAI 2026, arXiv 2503.07266 (the architecture)",
        measured=_measured(metrics),
        training={
            "command": COMMAND,
            "steps": " + ".join([*before.get("steps", "").split(" + "), *map(str, steps)]).removeprefix(" + "),
            "time": " + ".join([*_hours(before), *(f"{each:.1f}" for each in hours)]) + HOURS,
            "weights": arguments.weights or "of the last step",
            "machine": arguments.machine,
            "presence threshold": threshold,
        },
        notes=NOTES,
    )
    _keep(card)


def _measured(metrics: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {"NWPU VHR-10 val, generated phrases, native pixels": card_rows(metrics)}


def _keep(card: ModelCard) -> None:
    card.save(ASSETS)
    write_sums(ASSETS)
    print(json.dumps(card.as_dict()["measured"], indent=2))


def _hours(before: dict[str, str]) -> list[str]:
    return before["time"].removesuffix(HOURS).split(" + ") if before else []


if __name__ == "__main__":
    main()
