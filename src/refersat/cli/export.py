"""`refersat export`: a model as graphs that other programs run without this package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refersat.cli.options import Model, Phrases
from refersat.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from refersat.export.check import Comparison
    from refersat.export.formats import Format
    from refersat.export.write import Source

    Inputs = dict[str, Tensor]

FORMATS: dict[str, Format] = {"onnx": "onnx", "torch-export": "torch-export"}
_NOISE = ((1, 6), (2, 12))  # batch and tokens; a batch of one is what most programs run


def export(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the files go; a new folder, or an earlier export, which is replaced.",
            show_default=False,
        ),
    ] = None,
    model: Model = "built-in",
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="onnx|torch-export",
            help="onnx: for ONNX Runtime and whatever else reads ONNX. torch-export: for torch.export.load, with "
            "PyTorch but without refersat.",
        ),
    ] = "onnx",
    check: Annotated[
        bool,
        typer.Option(help="Run the graphs beside the model: they must answer alike, or nothing is written."),
    ] = True,
    check_only: Annotated[
        bool,
        typer.Option(
            "--check-only", help="Write nothing: check and time the export that FOLDER holds, on this machine."
        ),
    ] = False,
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGE",
            help="Check and time with this image and the phrases of -t; else with noise.",
            show_default=False,
        ),
    ] = None,
    phrases: Phrases = None,
) -> None:
    """Write a model as three graphs that run without refersat: union encoder, image encoder, decoder.

    A graph's outputs are the inputs of later ones, by their names. Any number of image-phrase pairs may be given at
    once, with phrases of any length up to the model's; image sizes are fixed. Beside the graphs lie manifest.json
    (names, shapes, sizes, thresholds), the tokenizer, and SHA256SUMS. What takes an image and a phrase to a mask with
    them, in about 40 lines without PyTorch, is examples/onnx_predict.py; more in docs/how-to/export.md.

    Only RS2-SAM 2 and EVF-SAM 2 models can be exported, in float32. Needs pip install 'refersat[export]'.

    Example: refersat export --model built-in --out built-in-onnx --image harbour.tif -t "all ships"
    """
    if out is None:
        raise UserError("no folder given: refersat export --out FOLDER")
    if kind not in FORMATS:
        raise UserError(f"--format is {' or '.join(FORMATS)}, not {kind}")
    if (image is None) != (not phrases):
        raise UserError("--image and -t go together: the image, and what to ask about it")
    if not check and (check_only or image is not None):
        raise UserError("--no-check leaves out what --image and --check-only are for")

    from refersat.export.formats import check_packages
    from refersat.export.manifest import read_export
    from refersat.export.write import check_target, load_source

    if check_only:
        kind = read_export(out)["format"]
    else:
        check_target(out)
    check_packages(FORMATS[kind])
    source = load_source(model)
    inputs = list(_inputs(source, image, phrases or ())) if check else []
    rows = _check_again(source, out, inputs) if check_only else _write(source, out, FORMATS[kind], inputs)
    if rows:
        _print_table(rows)


def _write(source: Source, out: Path, kind: Format, inputs: Sequence[Inputs]) -> list[Comparison]:
    from rich.console import Console

    from refersat.export.write import write
    from refersat.models.store import replaced_at_once

    with replaced_at_once(out) as folder, Console(stderr=True).status(f"exporting {source.loaded.name}") as status:
        write(source, folder, kind, say=status.update)
        status.update("checking")
        rows = _check(source, folder, inputs)
    megabytes = sum(file.stat().st_size for file in out.iterdir()) / 1e6
    typer.echo(f"Wrote the graphs of {source.loaded.name} to {out} ({megabytes:.0f} MB)")
    return rows


def _check_again(source: Source, folder: Path, inputs: Sequence[Inputs]) -> list[Comparison]:
    from refersat.export.manifest import read_export

    made_of = read_export(folder)["model"]
    if made_of["sha256"] != source.sha256:
        raise UserError(f"{folder} was made from other weights than {source.loaded.name}, of a model {made_of['name']}")
    return _check(source, folder, inputs)


def _inputs(source: Source, image: Path | None, phrases: Sequence[str]) -> Iterator[Inputs]:
    """What to check with: the first question alone, then all together."""
    from refersat.export.graphs import example_inputs

    longest = source.model.config.max_text_length
    if image is None:
        for batch, tokens in _NOISE:
            yield example_inputs(source.model, batch, min(tokens, longest), seed=batch)
        return
    from refersat.imagery import read_image
    from refersat.models.preprocess import preprocess
    from refersat.question import check_phrase

    rgb, plain = read_image(image).rgb, [check_phrase(phrase) for phrase in phrases]
    for asked in [plain[:1], plain][: len(plain)]:
        pixels, union_pixels = preprocess([rgb] * len(asked), source.model.config)
        ids, mask = source.loaded.tokenizer(asked)
        yield {"pixel_values": pixels, "union_pixel_values": union_pixels, "input_ids": ids, "attention_mask": mask}


def _check(source: Source, folder: Path, inputs: Sequence[Inputs]) -> list[Comparison]:
    """Compare and time; a difference is a failure of ours."""
    if not inputs:
        return []
    import torch

    from refersat.export.check import TOLERANCE, compare, open_graphs

    run = open_graphs(folder, threads=torch.get_num_threads())
    rows = [compare(source.model, run, each, timed=True) for each in inputs]
    worst = max(rows, key=lambda row: row.difference)
    if not all(row.good for row in rows):
        raise RuntimeError(
            f"the graphs answer differently: logits by {worst.difference:.1e} of their spread (allowed {TOLERANCE:g}), "
            f"presence logits by {max(row.presence_difference for row in rows):.1e}"
        )
    return rows


def _print_table(rows: Sequence[Comparison]) -> None:
    import torch
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("pairs", "tokens", "graphs", "model", "difference", "equal pixels"):
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(
            str(row.batch),
            str(row.tokens),
            f"{row.seconds:.3f} s",
            f"{row.model_seconds:.3f} s",
            f"{row.difference:.1e}",
            f"{row.pixels_equal:.4%}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"Medians on {torch.get_num_threads()} CPU threads, of the graphs and of the model in PyTorch. "
        f"The difference is the logits' largest, in shares of their spread.",
        soft_wrap=True,
    )
