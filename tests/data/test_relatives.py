"""Data sets that were made of the same images are not trained on and measured together."""

from __future__ import annotations

import pytest

from refersat.data.relatives import check_sources_apart
from refersat.errors import UserError


@pytest.mark.parametrize(
    ("trained", "measured"),
    [(["dior-rsvg:a"], ["rrsisd:b"]), (["rrsisd:b"], ["dior-rsvg:a"]), (["triplets:c", "dior-rsvg:a"], ["rrsisd:b"])],
)
def test_relatives_are_told(trained: list[str], measured: list[str]) -> None:
    with pytest.raises(UserError, match="made of the same images"):
        check_sources_apart(trained, measured)


@pytest.mark.parametrize("measured", ["dior-rsvg:a", "triplets:b", "risbench:c"])
def test_a_data_set_and_its_own_splits_may_be(measured: str) -> None:
    check_sources_apart(["dior-rsvg:a"], [measured])
