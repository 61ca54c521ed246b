"""A model that needs no weights: bright pixels are the target, and a phrase with the word "unicorn" names nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from torch import Tensor, nn

from refersat.models.preprocess import IMAGENET_MEAN, IMAGENET_STD
from refersat.segmenter import Segmenter

ABSENT_ID = 9
UTM_31N = "EPSG:32631"
ONE_METRE = Affine(1.0, 0.0, 500_000.0, 0.0, -1.0, 5_700_000.0)


class BrightPixels(nn.Module):
    """Logit 8 (b - 1/2) for brightness b in [0, 1]; object score logit -3 for absent phrases, else 3."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        defaults = {
            "image_size": 64,
            "union_image_size": 32,
            "resize_antialias": True,
            "mask_threshold": 0.0,
            "two_class_logit": False,
            "presence": "object_score",
            "presence_threshold": 0.5,
            "block_fusion": "none",
        }
        self.config = SimpleNamespace(**{**defaults, **changes})
        self.batch_sizes: list[int] = []
        self.image_counts: list[int] = []

    def forward(
        self, pixel_values: Tensor, union_pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor
    ) -> SimpleNamespace:
        self.batch_sizes.append(len(input_ids))
        self.image_counts.append(len(pixel_values))
        assert len(pixel_values) == len(union_pixel_values)
        assert len(input_ids) == len(attention_mask)
        phrases, rest = divmod(len(input_ids), len(pixel_values))
        assert not rest
        pixel_values = pixel_values.repeat_interleave(phrases, 0)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        brightness = (pixel_values.float() * std + mean).mean(dim=1, keepdim=True)
        absent = ((input_ids == ABSENT_ID) & attention_mask).any(dim=1)
        return SimpleNamespace(
            logits=8 * (brightness - 0.5),
            presence_logits=torch.where(absent, -3.0, 3.0),
            pseudo_mask=None,
            candidates=None,
        )

    def probability(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(2 * logits - 1 if self.config.two_class_logit else logits)


def tokens(phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Padded like the real tokenizer's; padding carries an id that would change the answer if it were looked at."""
    rows = [[0, *(ABSENT_ID if word == "unicorn" else 5 for word in phrase.split()), 2] for phrase in phrases]
    length = max(map(len, rows))
    ids = torch.tensor([row + [ABSENT_ID] * (length - len(row)) for row in rows])
    return ids, torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in rows])


def fake_loaded_model(model: Any) -> Any:
    """What `load_model` returns for a model of ours."""
    from refersat.models.loading import LoadedModel  # slow to import, and few tests need it

    tokenizer: Any = tokens
    return LoadedModel(model=model, tokenizer=tokenizer, name="fake", card=None)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch has so many, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """With more of them, a few batches are worked on side by side, and finish in any order."""
    with threads(1):
        yield


@pytest.fixture
def three_threads() -> Iterator[None]:
    """However many cores there are."""
    with threads(3):
        yield


@pytest.fixture
def make_segmenter() -> Callable[..., Segmenter]:
    """Makes a segmenter on the CPU around a `BrightPixels` with these changes to its configuration."""

    def make(**changes: Any) -> Segmenter:
        from refersat.models.torch_backend import TorchBackend

        loaded = fake_loaded_model(BrightPixels(**changes))
        backend = TorchBackend.of(loaded, device=torch.device("cpu"), dtype=torch.float32)
        return Segmenter(backend, name=loaded.name)

    return make


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> BrightPixels:
    """Every model name and folder gives this model."""
    model = BrightPixels()
    monkeypatch.setattr("refersat.models.loading.load_model", lambda *_, **__: fake_loaded_model(model))
    return model


@pytest.fixture
def bright_square() -> NDArray[np.uint8]:
    """A dark image (80, 100, 3) with a bright square in rows 20..50 and columns 30..60."""
    rgb = np.full((80, 100, 3), 20, dtype=np.uint8)
    rgb[20:50, 30:60] = 240
    return rgb


@pytest.fixture
def write_raster(tmp_path: Path) -> Callable[..., Path]:
    """Writes bands (C, H, W) to a file of that name with rasterio; GeoTIFF unless the profile says otherwise."""

    def write(name: str, values: NDArray[Any], *, interpretation: Sequence[Any] | None = None, **profile: Any) -> Path:
        count, height, width = values.shape
        shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(tmp_path / name, "w", **{"driver": "GTiff", **shape, **profile}) as target:
                target.write(values)
                if interpretation is not None:
                    target.colorinterp = interpretation
        return tmp_path / name

    return write


@pytest.fixture
def geotiff(write_raster: Callable[..., Path], bright_square: NDArray[np.uint8]) -> Path:
    """The bright square as a GeoTIFF in UTM with pixels of one metre."""
    return write_raster("scene.tif", np.moveaxis(bright_square, -1, 0), crs=UTM_31N, transform=ONE_METRE)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to open a connection or to look up a host fails the test."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
