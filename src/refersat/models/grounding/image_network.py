"""What sees the image: networks to choose from, and the levels that the rest of the grounder works on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import ResNetBackbone
from transformers.models.deformable_detr.modeling_deformable_detr import replace_batch_norm
from transformers.models.sam2.modeling_sam2 import Sam2LayerNorm

from refersat.models.convolutions import ResidualConvolutions
from refersat.models.eye import Sight
from refersat.models.grounding.configuration import GroundingConfig
from refersat.models.hiera import ConvolutionalStem


class FrozenResNet(nn.Module):
    """ResNet whose batch norms keep the statistics and scales that they were loaded with, as in DETR."""

    def __init__(self, config: GroundingConfig) -> None:
        super().__init__()
        self.backbone = ResNetBackbone(config.resnet_config())
        with torch.no_grad():
            replace_batch_norm(self.backbone)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, S, S) -> maps of strides 4, 8, 16 and 32, (N, C, S/4, S/4) and so on."""
        return tuple(self.backbone(pixel_values).feature_maps)


class CompactNetwork(nn.Module):
    """3x3 convolutions with residual connections and a norm that needs no batch: learns from few images."""

    def __init__(self, config: GroundingConfig) -> None:
        super().__init__()
        widths, depths = config.image_widths, config.image_depths
        self.stem = ConvolutionalStem(widths[0])
        self.stages = nn.ModuleList()
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            layers: list[nn.Module] = [ResidualConvolutions(width) for _ in range(depth)]
            if index:
                before = widths[index - 1]
                layers = [
                    Sam2LayerNorm(before, data_format="channels_first"),
                    nn.Conv2d(before, width, kernel_size=3, stride=2, padding=1),
                    *layers,
                ]
            self.stages.append(nn.Sequential(*layers))

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, S, S) -> maps of strides 4, 8, 16 and 32, (N, C, S/4, S/4) and so on."""
        features = self.stem(pixel_values).permute(0, 3, 1, 2)
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return tuple(maps)


class ImageLevels(nn.Module):
    """Maps of strides 8, 16 and 32, brought to one width, and one more of stride 64."""

    def __init__(self, config: GroundingConfig) -> None:
        super().__init__()
        hidden, widths = config.hidden_size, config.image_widths[1:]
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, hidden, kernel_size=1), nn.GroupNorm(config.norm_groups, hidden))
            for width in widths
        )
        self.extra = nn.Sequential(
            nn.Conv2d(widths[-1], hidden, kernel_size=3, stride=2, padding=1), nn.GroupNorm(config.norm_groups, hidden)
        )

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps of strides 4 to 32 -> levels of strides 8 to 64, (N, hidden, S/8, S/8) and so on."""
        levels = [project(each) for project, each in zip(self.projections, maps[1:], strict=True)]
        return (*levels, self.extra(maps[-1]))


class EyeLevels(nn.Module):
    """What an eye sees at strides 4 and 16, brought together at stride 16, and two more levels."""

    def __init__(self, config: GroundingConfig, widths: tuple[int, ...]) -> None:
        super().__init__()
        hidden, groups = config.hidden_size, config.norm_groups
        fine, _, coarse = widths
        # An eye's maps are as large as their last layer made them.
        self.fine = nn.Sequential(
            Sam2LayerNorm(fine, data_format="channels_first"), nn.Conv2d(fine, hidden, kernel_size=4, stride=4)
        )
        self.coarse = nn.Sequential(
            Sam2LayerNorm(coarse, data_format="channels_first"), nn.Conv2d(coarse, hidden, kernel_size=1)
        )
        self.norm = nn.GroupNorm(groups, hidden)
        self.extras = nn.ModuleList(
            nn.Sequential(nn.Conv2d(hidden, hidden, kernel_size=3, stride=2, padding=1), nn.GroupNorm(groups, hidden))
            for _ in range(config.levels - 1)
        )

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The maps of a sight -> levels of strides 16 to 64, (N, hidden, S/16, S/16) and so on."""
        sight = Sight(*maps)
        levels = [self.norm(self.fine(sight.fine) + self.coarse(sight.coarse))]
        for extra in self.extras:
            levels.append(extra(levels[-1]))
        return tuple(levels)
