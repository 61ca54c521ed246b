"""Data sets that were made of the same images, divided in different ways: what one trains on, the other tests on."""

from __future__ import annotations

from collections.abc import Sequence

from refersat.errors import UserError

RELATIVES = (frozenset({"dior-rsvg", "rrsisd"}),)
"""By the names of `sources.READERS`. RRSIS-D took images and phrases from DIOR-RSVG, both from DIOR."""


def check_sources_apart(trained: Sequence[str], measured: Sequence[str]) -> None:
    """See that nothing is measured on a relative of what is trained on; each is given as KIND:PATH.

    Images themselves are compared by `leakage.find_leaks`; this needs none.

    Raises:
        UserError: something is.
    """
    for one in trained:
        for other in measured:
            kinds = frozenset(source.partition(":")[0] for source in (one, other))
            if kinds in RELATIVES:
                raise UserError(
                    f"{one} is trained on and {other} is measured, but both are made of the same images in different "
                    "splits: the test would be known from training; train on the other's own train split"
                )
