"""What can be chosen of PSLG-SAM as a whole."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from refersat.models.pslg.boundary import BoundaryOptions
from refersat.models.pslg.foreground import PointOptions

PRESENT_FROM = 0.25
"""Score of the box from which on the target counts as there, where the grounder does not say: Grounding DINO's."""


class PslgOptions(BaseModel):
    """The two steps around SAM, and when the target counts as there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    presence_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description=f"score from which the target is there; null: the grounder's own, or {PRESENT_FROM}",
    )
    use_point: bool = Field(True, description="give SAM a foreground point beside the box")
    use_boundary: bool = Field(True, description="let the boundary step improve SAM's mask")
    point: PointOptions = Field(PointOptions(), description="of the foreground point")
    boundary: BoundaryOptions = Field(BoundaryOptions(), description="of the boundary step")
