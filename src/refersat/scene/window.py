"""A rectangle of a scene."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle in pixels of the scene: `x` right and `y` down from its top left corner, to x + width and y + height.

    It may hang over the scene's border. Fractions of pixels are allowed where a scene is read at another resolution.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Just outside of it."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Just outside of it."""
        return self.y + self.height

    def cut(self, other: Window) -> Window | None:
        """What both have in common; None when that is nothing."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width, height = min(self.right, other.right) - x, min(self.bottom, other.bottom) - y
        return Window(x, y, width, height) if width > 0 and height > 0 else None
