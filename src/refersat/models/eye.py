"""A trained model's sight without its ears: trunk and survey of an RS2-SAM 2 as a frozen image network for others.

What such a model has learned of objects serves any network that is to be trained on few images. The folders of these
networks do not hold the eye's weights again: they name the model that has them, and what they must be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from refersat.errors import UserError
from refersat.models.candidates import CandidateFinder, Survey
from refersat.models.checkpoint import Checkpoint
from refersat.models.configuration import RS2Sam2Config
from refersat.models.hiera import FusedHiera
from refersat.models.preprocess import square_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREFIX = "eye."
"""Of the eye's parameters in a network that has one."""


@dataclass(frozen=True)
class Sight:
    """What an eye sees in N images.

    Attributes:
        fine: (N, W, S/4, S/4), the survey's features.
        edges: (N, 4, S/4, S/4), the survey's distances to the edges of objects.
        middle: (N, C, S/8, S/8) of the trunk.
        coarse: (N, D, S/16, S/16) of the trunk.
    """

    fine: Tensor
    edges: Tensor
    middle: Tensor
    coarse: Tensor

    def to(self, device: torch.device) -> Sight:
        """The same on a device."""
        return Sight(*(each.to(device) for each in self.maps))

    @property
    def survey(self) -> Survey:
        """As the models that made it know it."""
        return Survey(self.fine, self.edges)

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """All of it, in the order of the arguments."""
        return self.fine, self.edges, self.middle, self.coarse


class Eye(nn.Module):
    """The blocks of a trunk that hear no phrase, and the survey of what they see. It has no gradients.

    Args:
        model: configuration of the model that it is taken from.

    Raises:
        ValueError: the model has no survey, or hears phrases before it sees at stride 16.
    """

    def __init__(self, model: RS2Sam2Config) -> None:
        super().__init__()
        if not model.candidate_width:
            raise ValueError("an eye needs a model with a candidate_width")
        starts = [sum(model.trunk_depths[:stage]) for stage in (2, 3)]
        if not starts[0] < model.fusion_from_block <= starts[1]:
            raise ValueError(f"an eye needs a fusion_from_block of {starts[0] + 1} to {starts[1]}")
        self.side = model.image_size
        self.antialias = model.resize_antialias
        self.widths = (model.candidate_width, *model.trunk_widths[1:3])
        self.trunk = trunk_of(model)
        self.trunk.blocks = self.trunk.blocks[: self.trunk.first_listener]
        self._last: tuple[bytes, Sight] | None = None
        self.candidates = CandidateFinder(self.trunk.image_map_widths, model.candidate_width, hidden=model.hidden_size)

    @torch.inference_mode(False)  # what is remembered may be asked for in training, too
    @torch.no_grad()
    def see(self, image: NDArray[np.uint8]) -> Sight:
        """An image, RGB (H, W, 3), at its own side. The last image is remembered: two networks may share an eye."""
        known = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), person=str(image.shape).encode()[:16]).digest()
        if self._last is None or self._last[0] != known:
            device = self.trunk.pos_embed.device
            self._last = known, self(self.view(image).to(device))
        return self._last[1]

    @torch.no_grad()
    def forward(self, pixel_values: Tensor) -> Sight:
        """(N, 3, S, S), S a multiple of 32."""
        state = self.trunk.look(pixel_values)
        survey = self.candidates.survey(state)
        middle, coarse = (each.permute(0, 3, 1, 2) for each in (state.maps[1], state.features))
        return Sight(survey.features, survey.edges, middle, coarse)

    def view(self, image: NDArray[np.uint8], side: int | None = None) -> Tensor:
        """RGB (H, W, 3) -> (1, 3, side, side), a square without the aspect ratio; by default its own side."""
        return square_view(image, side or self.side, antialias=self.antialias)


def trunk_of(config: RS2Sam2Config) -> FusedHiera:
    """A fresh trunk of a configuration."""
    return FusedHiera(
        config.trunk_config(),
        text_width=config.hidden_size,
        fusion=config.block_fusion,
        fusion_from=config.fusion_from_block,
        adapter=config.mlp_adapter,
        stem=config.stem,
        convolutions=config.trunk_convolutions,
    )


def eye_config(description: Mapping[str, Any]) -> RS2Sam2Config:
    """The configuration of the model that an eye is taken from, as it is kept in that of the network that has it."""
    config: RS2Sam2Config = RS2Sam2Config.from_dict(dict(description))
    return config


def digest_of(eye: Eye) -> str:
    """Of the weights, in half precision, in which models are kept."""
    digest = hashlib.sha256()
    for name, tensor in sorted(eye.state_dict().items()):
        # Averaging two equal models turns -0 into 0, which sees the same: adding 0 does that to all.
        weights = tensor.detach().cpu().half().contiguous() + 0
        digest.update(name.encode() + b"\0" + weights.numpy().tobytes())
    return digest.hexdigest()


def without_eye(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What of a network's weights is kept in its own folder."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(PREFIX)}


@torch.no_grad()
def open_eye(eye: Eye, place: str, sha256: str, *, folder: Path) -> None:
    """Fill an eye with its model's weights.

    Args:
        eye: of a network in a folder.
        place: name of the model, or its folder, relative to `folder`.
        sha256: what `digest_of` must be.
        folder: of the network.

    Raises:
        UserError: the model is not there, or has other weights.
    """
    from refersat.models import zoo

    model = folder / Path(place).expanduser()
    if not model.is_dir() and zoo.is_name(place):
        model = zoo.folder_of(place)
    if not model.is_dir():
        raise UserError(f"{folder} sees with the weights of {place}, which is not there")
    checkpoint = Checkpoint.find(model)
    targets = eye.state_dict()
    missing = [name for name in targets if name not in checkpoint.entries]
    if missing:
        raise UserError(f"{folder} sees with the weights of {model}, which lacks {len(missing)}: {missing[0]} for one")
    for group in checkpoint.groups(list(targets)):
        for name, tensor in group.items():
            if targets[name].shape != tensor.shape:
                raise UserError(f"{folder} sees with the weights of {model}, whose {name} is of another size")
            targets[name].copy_(tensor)
    if sha256 and digest_of(eye) != sha256:
        raise UserError(
            f"{folder} was trained with other weights than {model} has now: what it learned does not fit what it would "
            f"see; train it anew"
        )
