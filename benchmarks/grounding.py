"""Scores of grounders on any data: Acc@0.5 ... 0.9, mean and cumulative IoU of boxes, presence, and time per image.

    python benchmarks/grounding.py triplets:runs/val built-in runs/built-in-grounder/best

A model is whatever `load_grounder` takes: a grounder's folder, Grounding DINO's, or a segmentation model, whose masks'
boxes are measured then.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from refersat.cli.progress import bar
from refersat.data.relatives import check_sources_apart
from refersat.data.samples import Sample
from refersat.data.sources import read_samples
from refersat.evaluation.grounding import BoxEvaluation, ground_samples
from refersat.models.grounding.loading import load_grounder
from refersat.training.run_folder import FACTS_FILE

COLUMNS = ("mIoU", "cumIoU", "Acc@0.5", "Acc@0.6", "Acc@0.7", "Acc@0.8", "Acc@0.9")


def measured(model: str, samples: list[Sample], *, around: Any = "whole") -> dict[str, Any]:
    """The scores of a model, and milliseconds for each phrase."""
    grounder = load_grounder(model, around=around)
    began = time.perf_counter()
    with bar("{task.description}") as progress:
        task = progress.add_task(model, total=len(samples))
        rows = list(ground_samples(grounder, samples, on_sample=lambda: progress.advance(task)))
    milliseconds = 1000 * (time.perf_counter() - began) / len(samples)
    return {**BoxEvaluation(rows).result(), "milliseconds": milliseconds, "parameters": grounder.parameters}


def trained_on(model: str) -> list[str]:
    """The data that a trained model says it comes from."""
    facts = Path(model) / FACTS_FILE
    if not facts.is_file():
        return []
    trained: list[str] = json.loads(facts.read_text(encoding="utf-8"))["recipe"]["data"].get("train", [])
    return trained


def table(results: dict[str, dict[str, Any]]) -> str:
    """One line for each model."""
    head = ["model", *COLUMNS, "AUROC", "ms", "parameters"]
    rows = []
    for name, scores in results.items():
        area = scores["presence"]["presence_auroc"]
        values = [f"{scores[column]:.1f}" if scores[column] is not None else "-" for column in COLUMNS]
        rows.append([name, *values, "-" if area is None else f"{area:.1f}", f"{scores['milliseconds']:.0f}"])
        rows[-1].append(f"{scores['parameters'] / 1e6:.1f} M")
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="KIND:PATH")
    parser.add_argument("models", nargs="+", help="names or folders")
    parser.add_argument("--split", default="all", help="the part of the data that is measured")
    parser.add_argument("--limit", type=int, help="measure only the first so many phrases")
    parser.add_argument("--around", default="whole", choices=["whole", "largest"], help="of a mask")
    parser.add_argument("--out", type=Path, help="a JSON file for all numbers")
    options = parser.parse_args()
    samples = list(read_samples(options.data, split=options.split).samples)[: options.limit]
    for model in options.models:
        check_sources_apart(trained_on(model), [options.data])
    results = {model: measured(model, samples, around=options.around) for model in options.models}
    print(table(results))
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
