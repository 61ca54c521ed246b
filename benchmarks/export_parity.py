"""Do exported graphs give the released model's recorded numbers, and how long do they take beside PyTorch?

    python benchmarks/export_parity.py [--format onnx|torch-export]

The model is the small configuration of benchmarks/parity.py, at the released model's image sizes, with the weights of
the recordings; the recordings are the released model's own outputs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import parity
import torch

from refersat.export.check import Comparison, compare, open_graph
from refersat.export.formats import ENDINGS, Format
from refersat.export.graphs import graphs
from refersat.export.sessions import joined
from refersat.export.write import graph_row

THREADS = 2


def measure(kind: Format, folder: Path, *, timed: bool) -> dict[str, tuple[dict[str, float], Comparison]]:
    """Export into a folder and ask what was recorded.

    Returns:
        For each recording the errors of the recorded arrays, as `parity.errors` has them, and the comparison with our
        model in PyTorch.
    """
    model = parity.filled_model()
    parts = []
    for graph in graphs(model):
        row = graph_row(graph, folder, kind, longest=model.config.max_text_length)
        parts.append(open_graph(folder, row, threads=torch.get_num_threads()))
    run = joined(parts)
    rows = {}
    for name in parity.CASES:
        case = parity.load_case(name)
        inputs, _ = parity.inputs(case)
        given = {key: torch.from_numpy(value) for key, value in run({k: v.numpy() for k, v in inputs.items()}).items()}
        ours = {
            "pred_masks": given["logits"][:, :, ::8, ::8],
            "object_score_logits": given["presence_logits"][:, None],
            "pseudo_mask": given["pseudo_mask_logits"].sigmoid(),
            "text_feat": given["text"],
            "decoder_fused_image": given["image_embedding"][:, ::32, ::4, ::4],
        }
        rows[name] = (parity.errors(case, ours), compare(model, run, inputs, timed=timed))
    return rows


def main() -> None:
    """Print the table; exit with 1 when anything is off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=ENDINGS, default="onnx")
    kind = parser.parse_args().format
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(kind, Path(folder), timed=True)
    arrays = list(next(iter(rows.values()))[0])
    print(f"| recording | {' | '.join(arrays)} | {kind} | PyTorch |\n|{'---|' * (len(arrays) + 3)}")
    for name, (errors, comparison) in rows.items():
        numbers = " | ".join(f"{error:.1e}" for error in errors.values())
        print(f"| {name} | {numbers} | {comparison.seconds:.2f} s | {comparison.model_seconds:.2f} s |")
    print(f"\nlargest errors in shares of an array's spread; allowed {parity.TOLERANCE:.0e}; {THREADS} threads")
    if not all(error <= parity.TOLERANCE for errors, _ in rows.values() for error in errors.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
