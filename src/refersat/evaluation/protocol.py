"""The protocols: on which pixel grid a prediction meets the truth.

The field measures on a square, `480` (RMSIN, LGCE, FIANet, MAFN) or `1024` (RS2-SAM 2): image and mask are resized to
it, the mask by nearest neighbour, and the prediction is compared there. `native` compares on the image's own pixels,
to which the prediction is resized. In all of them a pixel is foreground by one threshold (the arg-max of two classes),
a sample whose union is empty has IoU 0, and Pr@t counts IoU >= t.

One run of the model serves every protocol. The model resizes whatever image it gets to the square of its own input, so
shrinking the image to 480 beforehand would only take detail from the models that look closer, and change nothing else;
what the protocol fixes is the grid of the comparison. So the prediction is made once, from the image itself, and its
logits, which lie on the image's own pixels, are resized bilinearly to the square. (Pipelines that resize their logits
straight from the model's square to that of the protocol skip this step over the image's pixels: a difference of a
fraction of a pixel at the rim of the mask.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from refersat.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from refersat.result import Result

LOGIT_LIMIT = 16.0  # beyond it a float32 probability is 0 or 1, and its logit is no longer a number


@dataclass(frozen=True)
class Protocol:
    """A grid for the comparison: `size` pixels square, or the image's own where `size` is None."""

    name: str
    size: int | None
    definition: str

    def truth(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The true mask (H, W) on this protocol's grid, by nearest neighbour of pixel centres (as Pillow does)."""
        if self.size is None:
            return mask
        import numpy as np
        from PIL import Image

        square = Image.fromarray(mask).resize((self.size, self.size), Image.Resampling.NEAREST)
        return np.asarray(square, dtype=np.bool_)

    def prediction(
        self, result: Result, threshold: float, logits: NDArray[np.float32] | None = None
    ) -> NDArray[np.bool_]:
        """The predicted mask on the grid of this protocol.

        `threshold` is the probability above which `result.mask` is foreground. An answer whose mask was emptied because
        the target is not there stays empty. `logits` are those of `result.probability`, to share between protocols.
        """
        if self.size is None:
            return result.mask
        import numpy as np

        if not result.mask.any():
            return np.zeros((self.size, self.size), dtype=np.bool_)
        resized = resize_bilinear(logit(result.probability) if logits is None else logits, self.size)
        return resized > logit(np.asarray(threshold, dtype=np.float32))


NATIVE = Protocol("native", None, "prediction resized to the image's own pixels, mask as it is")
FIELD_480 = Protocol("480", 480, "mask resized to 480x480 by nearest neighbour, logits bilinearly")
FIELD_1024 = Protocol("1024", 1024, "mask resized to 1024x1024 by nearest neighbour, logits bilinearly")
PROTOCOLS = {protocol.name: protocol for protocol in (NATIVE, FIELD_480, FIELD_1024)}


def choose_protocols(name: str | None) -> tuple[Protocol, ...]:
    """The protocol of that name, or all of them.

    Raises:
        UserError: no such protocol.
    """
    if name is None:
        return tuple(PROTOCOLS.values())
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol {name!r}; choose {', '.join(PROTOCOLS)}, or leave it out for all of them")
    return (PROTOCOLS[name],)


def logit(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of the sigmoid, held within +-16, any shape."""
    import numpy as np

    with np.errstate(divide="ignore"):
        raw = np.log(probability) - np.log1p(-probability)
    limited: NDArray[np.float32] = np.clip(raw, -LOGIT_LIMIT, LOGIT_LIMIT, dtype=np.float32)
    return limited


def resize_bilinear(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """(H, W) -> (size, size), pixel centres aligned, as models resize their own logits."""
    import numpy as np
    import torch
    from torch.nn.functional import interpolate

    batch = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    resized = interpolate(batch, size=(size, size), mode="bilinear", align_corners=False)
    return np.asarray(resized[0, 0].numpy())
