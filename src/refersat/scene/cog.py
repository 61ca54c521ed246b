"""Parts to one raster: as a virtual one, readable while it grows, and in the end as a Cloud Optimized GeoTIFF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import affine
import rasterio
import rasterio.shutil

from refersat.output import replaced_file, write_file
from refersat.rasters import unplaced_is_fine
from refersat.scene.parts import BLOCK, Parts, Piece

_CACHE = 32 * 2**20  # bytes for blocks: copying goes from top to bottom and needs none of them twice


@dataclass(frozen=True)
class Frame:
    """The scene that outputs lie upon.

    Attributes:
        width, height: its pixels.
        crs_wkt: None where it has none.
        transform: None where it has no place.
    """

    width: int
    height: int
    crs_wkt: str | None
    transform: affine.Affine | None


@dataclass(frozen=True)
class Layer:
    """One band of the parts that is to be a raster of its own.

    Attributes:
        band: which.
        kind: of the pieces, as `Parts.write_piece` has it.
        wide: whether its values have 32 bits instead of 8.
        overviews: how GDAL is to reduce it.
    """

    band: int
    kind: str = "rows"
    wide: bool = False
    overviews: str = "mode"


def virtual_raster(
    parts: Parts, layer: Layer, frame: Frame, tags: Mapping[str, str], *, holes: bool, folder: str = ""
) -> bytes:
    """A layer as a GDAL virtual raster (VRT) of the scene's size and place.

    Args:
        parts: finished bands, all or some.
        layer: which of theirs.
        frame: the scene's.
        tags: its metadata.
        holes: whether pixels that do not count, or are not done, are shown as nodata.
        folder: the parts' folder as seen from that of the virtual raster, with a slash; empty when it is the same.
    """
    place = ""
    if frame.crs_wkt is not None:
        place += f"<SRS>{escape(frame.crs_wkt)}</SRS>"
    if frame.transform is not None:
        place += (
            f"<GeoTransform>{', '.join(repr(float(number)) for number in frame.transform.to_gdal())}</GeoTransform>"
        )
    noted = "".join(f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in tags.items())
    kind = "UInt32" if layer.wide else "Byte"

    def band(kind: str, pieces: str, number: int, what: str = "") -> str:
        sources = "".join(_source(parts, piece, number, kind, folder) for piece in parts.pieces(pieces))
        return f'<VRTRasterBand dataType="{kind}"{what}>{sources}</VRTRasterBand>'

    shown = band(kind, layer.kind, layer.band, ' band="1"')
    mask = f"<MaskBand>{band('Byte', 'rows', Parts.VALID)}</MaskBand>" if holes else ""
    return (
        f'<VRTDataset rasterXSize="{frame.width}" rasterYSize="{frame.height}">{place}<Metadata>{noted}</Metadata>'
        f"{shown}{mask}</VRTDataset>\n"
    ).encode()


def _source(parts: Parts, piece: Piece, band: int, kind: str, folder: str) -> str:
    width, height = int(parts.extent.width), piece.stop - piece.first
    size = f'xSize="{width}" ySize="{height}"'
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="1">{escape(folder + piece.path.name)}</SourceFilename>'
        f'<SourceBand>{band}</SourceBand><SourceProperties RasterXSize="{width}" RasterYSize="{height}" '
        f'DataType="{kind}" BlockXSize="{BLOCK}" BlockYSize="{BLOCK}"/><SrcRect xOff="0" yOff="0" {size}/>'
        f'<DstRect xOff="{int(parts.extent.x)}" yOff="{piece.first}" {size}/></SimpleSource>'
    )


def write_cog(path: Path, parts: Parts, layer: Layer, frame: Frame, tags: Mapping[str, str], *, holes: bool) -> None:
    """A layer as a Cloud Optimized GeoTIFF, whole or not at all; what does not count is masked when `holes`.

    Raises:
        UserError: the disk is full, or does not allow it.
    """
    view = parts.folder / f"{path.stem}.vrt"
    write_file(view, virtual_raster(parts, layer, frame, tags, holes=holes))
    options = {"compress": "deflate", "blocksize": BLOCK, "bigtiff": "if_safer", "overview_resampling": layer.overviews}
    # The driver keeps a mask in the file itself, where its values need no nodata value to be taken from them.
    with (
        replaced_file(path, within=parts.folder) as temporary,
        unplaced_is_fine(),
        rasterio.Env(GDAL_CACHEMAX=_CACHE),
    ):
        rasterio.shutil.copy(view, temporary, driver="COG", **options)
