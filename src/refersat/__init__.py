"""An English phrase and an aerial image in, the mask of what the phrase names out.

    import refersat
    segmenter = refersat.load("built-in")
    result = segmenter("image.tif", "the ship on the left")

The names below are imported when first used, so that `import refersat` stays fast and loads no PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refersat.client import Client
    from refersat.result import Result
    from refersat.scene.options import SceneOptions
    from refersat.scene.scene import Scene
    from refersat.segmenter import Segmenter, load

__version__ = "0.1.0"
__all__ = ["Client", "Result", "Scene", "SceneOptions", "Segmenter", "__version__", "load"]

_HOMES = {
    "Client": "refersat.client",
    "Result": "refersat.result",
    "Scene": "refersat.scene.scene",
    "SceneOptions": "refersat.scene.options",
    "Segmenter": "refersat.segmenter",
    "load": "refersat.segmenter",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
