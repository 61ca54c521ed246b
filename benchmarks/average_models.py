"""One model of two that are stages of the same training: what each weight is on the way from one to the other.

python benchmarks/average_models.py runs/before runs/after/model out/between --share 0.5

A model that went on learning from other views knows more of these and less of what it knew: between the two it often
knows both (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). `--set` changes the configuration.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from refersat.models.folder import CONFIG_FILE

WEIGHTS = "model.safetensors"
COPIED = ("sentencepiece.bpe.model", CONFIG_FILE)


def average(before: Path, after: Path, target: Path, share: float, changes: dict[str, object]) -> None:
    """Write the model of `after`'s configuration whose weights lie by `share` of the way nearer to it."""
    one, other = load_file(before / WEIGHTS), load_file(after / WEIGHTS)
    unlike = [name for name, tensor in other.items() if name not in one or one[name].shape != tensor.shape]
    if unlike or len(one) != len(other):
        raise SystemExit(f"{before} and {after} are not of the same sizes: {(unlike or ['their numbers differ'])[0]}")
    target.mkdir(parents=True)
    for name in COPIED:
        shutil.copyfile(after / name, target / name)
    config = json.loads((target / CONFIG_FILE).read_text(encoding="utf-8")) | changes
    (target / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    between = {name: one[name].float().lerp(tensor.float(), share).half() for name, tensor in other.items()}
    save_file(between, target / WEIGHTS, metadata={"format": "pt"})


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="folder of the model")
    parser.add_argument("after", type=Path, help="folder of the model that it became")
    parser.add_argument("target", type=Path, help="a new folder")
    parser.add_argument("--share", type=float, default=0.5, help="0: as before, 1: as after")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the configuration")
    words = parser.parse_args()
    changes = {name: json.loads(value) for name, _, value in (each.partition("=") for each in words.set)}
    average(words.before, words.after, words.target, words.share, changes)


if __name__ == "__main__":
    main()
