"""Writing a model's graphs into a folder, with all that is needed to use them: tokenizer, sizes, rules, digests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import refersat
from refersat.errors import UserError
from refersat.export.formats import ENDINGS, Format, write_graph
from refersat.export.graphs import Graph, dimensions, graphs
from refersat.export.manifest import KIND, MANIFEST_FILE, is_export
from refersat.models import peers, store
from refersat.models.identity import model_files, weights_digest
from refersat.models.loading import LoadedModel, load_model, locate
from refersat.models.preprocess import IMAGENET_MEAN, IMAGENET_STD
from refersat.models.pslg import is_pslg
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.text.tokenizer import BEGIN_ID, END_ID, PAD_ID, TOKENIZER_FILE, UNKNOWN_ID


@dataclass(frozen=True)
class Source:
    """A model that can be exported: on the CPU, in float32, with the digest of its weights' files."""

    loaded: LoadedModel
    sha256: str

    @property
    def model(self) -> RS2Sam2Model:
        """The network."""
        return self.loaded.model


def load_source(name_or_folder: str) -> Source:
    """Load a model to export.

    Raises:
        UserError: there is no such model, or it is of a kind that cannot be exported.
    """
    folder, name = locate(name_or_folder)
    if is_pslg(folder) or peers.is_peer(folder):
        kind = "a PSLG-SAM" if is_pslg(folder) else "a peer, kept as its makers released it"
        raise UserError(f"{name} is {kind}: only RS2-SAM 2 and EVF-SAM 2 models can be exported")
    loaded = load_model(name_or_folder)
    assert isinstance(loaded, LoadedModel)
    return Source(loaded, weights_digest(model_files(folder)[0]))


def check_target(target: Path) -> None:
    """See that a folder is free, or holds an earlier export, which a new one replaces.

    Raises:
        UserError: it is a file, or holds something else.
    """
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file: give a folder to write to")
    if target.is_dir() and any(target.iterdir()) and not is_export(target):
        raise UserError(f"{target} holds something else than an earlier export: give a new folder")


def write(source: Source, folder: Path, kind: Format, *, say: Callable[[str], None]) -> None:
    """Fill an empty folder with graphs, tokenizer, `manifest.json` and `SHA256SUMS`.

    Args:
        source: the model.
        folder: where the files go.
        kind: their format.
        say: is told what is done next.
    """
    rows = []
    for graph in graphs(source.model):
        say(f"writing {graph.name}")
        rows.append(graph_row(graph, folder, kind, longest=source.model.config.max_text_length))
    source.loaded.tokenizer.save(folder)
    text = json.dumps(_manifest(source, kind, rows), indent=2) + "\n"
    (folder / MANIFEST_FILE).write_text(text, encoding="utf-8")
    store.write_sums(folder)


def graph_row(graph: Graph, folder: Path, kind: Format, *, longest: int) -> dict[str, Any]:
    """Write one graph, see `write_graph`: what the manifest says of it."""
    path = folder / f"{graph.name}{ENDINGS[kind]}"
    simplified = write_graph(graph, path, kind, longest=longest)
    inputs, outputs = (
        {
            name: {"shape": dimensions(name, tensor), "dtype": str(tensor.dtype).removeprefix("torch.")}
            for name, tensor in tensors.items()
        }
        for tensors in (graph.inputs, graph.outputs)
    )
    return {"name": graph.name, "file": path.name, "inputs": inputs, "outputs": outputs, "simplified": simplified}


def _manifest(source: Source, kind: Format, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What a program that runs the graphs has to know."""
    config = source.model.config
    return {
        "kind": KIND,
        "format": kind,
        "refersat": refersat.__version__,
        "torch": torch.__version__,
        "model": {
            "name": source.loaded.name,
            "sha256": source.sha256,
            "parameters": sum(parameter.numel() for parameter in source.model.parameters()),
        },
        "graphs": rows,
        "images": {
            "sides": {"pixel_values": config.image_size, "union_pixel_values": config.union_image_size},
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
            "antialias": config.resize_antialias,
        },
        "tokenizer": {
            "file": TOKENIZER_FILE,
            "begin": BEGIN_ID,
            "end": END_ID,
            "unknown": UNKNOWN_ID,
            "padding": PAD_ID,
            "longest": config.max_text_length,
        },
        "answer": {
            "mask_threshold": config.mask_threshold,
            "two_class_logit": config.two_class_logit,
            "presence_threshold": config.presence_threshold if config.presence == "object_score" else None,
        },
    }
