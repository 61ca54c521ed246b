"""Put a trained grounder and a trained compact SAM into the package as `built-in-pslg`, measure it, write its card.

python benchmarks/ship_pslg.py runs/built-in-grounder runs/built-in-sam --data triplets:runs/val --machine "2 CPU cores"

Both see with the same eye. Where that is the built-in model's, its weights are not shipped again; else they lie beside
the two networks. `--settle` does that alone, after the built-in model was shipped anew. The presence threshold is the
score that all but `--lost` percent of every fifth phrase with a target reach. The numbers in the card are those of
`refersat evaluate --model built-in-pslg` on the same data.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from card_rows import card_rows
from safetensors.torch import save_file

import refersat
from refersat.data.triplets import read_triplets
from refersat.evaluation.protocol import PROTOCOLS
from refersat.evaluation.report import metrics_of, presence_line, results_table
from refersat.evaluation.rows import Evaluation
from refersat.evaluation.run import evaluate_samples
from refersat.models.eye import Eye, digest_of, eye_config, open_eye
from refersat.models.folder import CONFIG_FILE
from refersat.models.pslg import GROUNDER_FOLDER, SAM_FOLDER
from refersat.models.pslg.folder import PslgDescription
from refersat.models.store import write_sums
from refersat.models.zoo import BUILT_IN, BUILT_IN_PSLG, ModelCard, built_in_folder
from refersat.training.run_folder import FACTS_FILE

ASSETS = Path(refersat.__file__).parent / "assets" / BUILT_IN_PSLG
EYE_FOLDER = "eye"
CALIBRATION_STEP = 5

DATA = (
    "--set data.annotations=nwpu-vhr10/train.json --set data.images=nwpu-vhr10/images --set data.validation=runs/val "
    "--set seen=runs/seen"
)
NOTES = (
    "Knows the ten kinds of object that the built-in model knows; sees with the frozen trunk of such a model. Anything "
    "else is a guess.",
    "The grounder finds a box for each object that the phrase names; each becomes a mask by the compact SAM, which "
    "knows of no kinds.",
    "The two networks alone are a grounder and a SAM for `refersat models assemble`: they lie in the folders grounder "
    "and sam.",
    "All of it computes in float32, whatever --dtype says.",
)


def main() -> None:
    """Copy, calibrate, measure, describe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grounder", type=Path, nargs="?", help="folder of its training run")
    parser.add_argument("sam", type=Path, nargs="?", help="folder of its training run")
    parser.add_argument("--settle", action="store_true", help="only see again where the eye's weights are")
    parser.add_argument("--data", help="validation data, triplets:FOLDER")
    parser.add_argument("--machine", help="what they were trained on, in words")
    parser.add_argument("--lost", type=float, default=2.5, help="percent of right phrases that may be answered empty")
    parser.add_argument("--eye", help="what eye they were trained with, in words, if it was not the one they have")
    parser.add_argument("--no-point", action="store_true", help="without the foreground point")
    parser.add_argument("--no-boundary", action="store_true", help="without the boundary step")
    parser.add_argument("--part", choices=("model", "best"), default="model", help="of the grounder's run")
    arguments = parser.parse_args()
    if arguments.settle:
        _settle_eyes()
        write_sums(ASSETS)
        return
    if not (arguments.sam and arguments.data and arguments.machine):
        parser.error("give the two runs, --data and --machine, or --settle")

    shutil.rmtree(ASSETS, ignore_errors=True)
    for name, model in ((GROUNDER_FOLDER, arguments.grounder / arguments.part), (SAM_FOLDER, arguments.sam / "model")):
        (ASSETS / name).mkdir(parents=True)
        for file in model.iterdir():
            if file.name != FACTS_FILE:  # the card tells what matters of them
                shutil.copyfile(file, ASSETS / name / file.name)
    _settle_eyes()
    choices: dict[str, Any] = {"use_point": not arguments.no_point, "use_boundary": not arguments.no_boundary}
    PslgDescription(presence_threshold=0.0, **choices).save(ASSETS)
    samples = read_triplets(arguments.data.removeprefix("triplets:")).samples
    present = [row.score for row in _evaluate(samples[::CALIBRATION_STEP]).rows if row.overlaps]
    threshold = round(float(np.percentile(present, arguments.lost)), 4)
    PslgDescription(presence_threshold=threshold, **choices).save(ASSETS)
    metrics = metrics_of(_evaluate(samples))
    _print(metrics, threshold)
    _write_card(arguments, threshold, metrics)
    write_sums(ASSETS)


def _settle_eyes() -> None:
    """Let both networks name the place from which everyone can have their eye."""
    shipped = True
    for name in (GROUNDER_FOLDER, SAM_FOLDER):
        path = ASSETS / name / CONFIG_FILE
        config = json.loads(path.read_text(encoding="utf-8"))
        eye = Eye(eye_config(config["eye"]))
        open_eye(eye, config["eye_model"], config["eye_sha256"], folder=ASSETS / name)
        shipped = _is_built_in(eye)
        config["eye_model"] = BUILT_IN if shipped else f"../{EYE_FOLDER}"
        if not shipped:
            (ASSETS / EYE_FOLDER).mkdir(exist_ok=True)
            state = {name: tensor.half().contiguous() for name, tensor in eye.state_dict().items()}
            save_file(state, ASSETS / EYE_FOLDER / "model.safetensors", metadata={"format": "pt"})
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if shipped:
        shutil.rmtree(ASSETS / EYE_FOLDER, ignore_errors=True)


def _is_built_in(eye: Eye) -> bool:
    own = Eye(eye_config(json.loads((built_in_folder() / CONFIG_FILE).read_text(encoding="utf-8"))))
    open_eye(own, BUILT_IN, "", folder=ASSETS)
    return digest_of(own) == digest_of(eye)


def _evaluate(samples: Any) -> Evaluation:
    torch.set_num_threads(1)
    segmenter = refersat.load(BUILT_IN_PSLG, device="cpu", dtype="float32")
    return evaluate_samples(segmenter, samples, protocols=list(PROTOCOLS.values()))


def _print(metrics: dict[str, Any], threshold: float) -> None:
    from rich.console import Console

    console = Console(width=140)
    console.print(results_table(metrics))
    console.print(presence_line(metrics))
    console.print(f"presence threshold: {threshold}")


def _write_card(arguments: argparse.Namespace, threshold: float, metrics: dict[str, Any]) -> None:
    training = {}
    for name, run in (("grounder", arguments.grounder), ("sam", arguments.sam)):
        log = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        training[f"{name}, command"] = f"refersat train built-in-{name} --out runs/built-in-{name} {DATA}"
        training[f"{name}, steps"] = str(max(entry["step"] for entry in log))
        training[f"{name}, time"] = f"{sum(entry.get('seconds', 0.0) for entry in log) / 60:.0f} min of steps"
    if arguments.eye:
        training["eye"] = arguments.eye
    training["machine"] = arguments.machine
    training["presence threshold"] = f"{threshold}: {100 - arguments.lost:g} % of the phrases with a target reach it"
    ModelCard(
        name=BUILT_IN_PSLG,
        summary="Compact PSLG-SAM for ten kinds of object: a grounder, then a compact SAM; ships with the package.",
        licence="Research use only, as its training images.",
        data=(
            "NWPU VHR-10 (Cheng et al. 2014; outlines Su et al. 2019), 476 training images from Google Earth, for "
            "research use only; phrases generated by refersat. Sees with the trunk of a built-in model, trained on "
            "the same images."
        ),
        paper="Li et al., PSLG-SAM, arXiv 2506.10503; Lan et al., LQVG, TGRS 2024 (the architecture)",
        measured={"NWPU VHR-10 val, generated phrases, native pixels": card_rows(metrics)},
        training=training,
        notes=NOTES,
    ).save(ASSETS)


if __name__ == "__main__":
    main()
