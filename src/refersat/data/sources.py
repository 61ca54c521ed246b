"""`KIND:PATH` of the command line -> samples."""

from __future__ import annotations

from refersat.data.samples import SampleSet
from refersat.data.triplets import read_triplets
from refersat.errors import UserError

KINDS_TO_COME = ("refsegrs", "rrsisd", "risbench", "coco")


def read_samples(source: str, *, split: str) -> SampleSet:
    """List the samples of `source`, for example "triplets:data/val".

    Raises:
        UserError: not KIND:PATH, a kind that cannot be read, or data that is missing or malformed.
    """
    kind, colon, path = source.partition(":")
    if not colon or not path:
        raise UserError(f"data must be given as KIND:PATH, for example triplets:FOLDER, not {source!r}")
    if kind in KINDS_TO_COME:
        raise UserError(
            f"data of kind {kind} is not supported in this version; convert to triplets: a folder whose refs.json "
            "lists {id, image, mask, sentence}"
        )
    if kind != "triplets":
        raise UserError(f"unknown kind of data {kind!r}; give triplets:FOLDER")
    return read_triplets(path, split=split)
