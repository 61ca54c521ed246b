"""`KIND:PATH` of the command line -> samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from refersat.data.coco_expressions import read_coco_expressions
from refersat.data.dior_rsvg import read_dior_rsvg
from refersat.data.phrase_files import ANY, REFSEGRS, RISBENCH, read_phrase_files
from refersat.data.refer import read_refer
from refersat.data.samples import SampleSet
from refersat.data.triplets import read_triplets
from refersat.errors import UserError

READERS: dict[str, Callable[..., SampleSet]] = {
    "triplets": read_triplets,
    "refsegrs": partial(read_phrase_files, layout=REFSEGRS),
    "risbench": partial(read_phrase_files, layout=RISBENCH),
    "phrases": partial(read_phrase_files, layout=ANY),
    "rrsisd": partial(read_refer, name="RRSIS-D", folders=("rrsisd",)),
    "rrsis-hr": partial(read_refer, name="RRSIS-HR", folders=("rrsishr", "rrsis_hr", "rrsis-hr")),
    "remotesam-270k": partial(read_refer, name="RemoteSAM-270K", folders=("remotesam-270k",)),
    "nwpu-refer": partial(read_refer, name="NWPU-Refer", folders=("nwpu-refer",), merge=True),
    "refer": read_refer,
    "dior-rsvg": read_dior_rsvg,
    "coco": read_coco_expressions,
}
"""Each takes a path, `split` and `require_files`; docs/reference/data-formats.md tells what the files look like."""


def read_samples(source: str, *, split: str, require_files: bool = True) -> SampleSet:
    """List the samples of `source`, for example "triplets:data/val".

    Without `require_files`, single samples that are malformed are left out and told in the set's `faults`, and images
    and masks are not looked for.

    Raises:
        UserError: not KIND:PATH, an unknown kind, or data that is missing or malformed.
    """
    kind, colon, path = source.partition(":")
    if not colon or not path:
        raise UserError(f"data must be given as KIND:PATH, for example triplets:FOLDER, not {source!r}")
    if kind not in READERS:
        raise UserError(f"unknown kind of data {kind!r}; there are {', '.join(READERS)}")
    return READERS[kind](Path(path).expanduser(), split=split, require_files=require_files)
