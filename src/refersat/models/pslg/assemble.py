"""Put a PSLG-SAM together from two networks that are on this machine."""

from __future__ import annotations

from pathlib import Path

from refersat.errors import UserError
from refersat.models import store, zoo
from refersat.models.folder import read_description
from refersat.models.pslg.folder import PslgDescription, network_folders


def assemble(
    target: Path,
    *,
    grounder: str,
    sam: Path,
    use_point: bool = True,
    use_boundary: bool = True,
    presence_threshold: float | None = None,
) -> None:
    """Write a folder that says where a grounder and a SAM are, and what was chosen.

    Args:
        target: must not be there yet.
        grounder: folder of a grounder, or folder or name of any model.
        sam: folder of SAM 2 or SAM.
        use_point: see `PslgOptions`, as for the following.
        use_boundary: whether SAM's mask is improved.
        presence_threshold: None takes the grounder's own.

    Raises:
        UserError: `target` is there or cannot be written, or there is no such network.
    """
    if target.exists():
        raise UserError(f"{target} is already there: give a new folder")
    place = Path(grounder).expanduser()
    named = not place.is_dir() and zoo.is_name(grounder)
    if not named and not place.is_dir():
        raise UserError(f"{grounder} is neither a folder nor a model's name; the names are: {', '.join(zoo.names())}")
    if not sam.expanduser().is_dir():
        raise UserError(f"{sam} is not a folder")
    description = PslgDescription(
        grounder=grounder if named else str(place.resolve()),
        sam=str(sam.expanduser().resolve()),
        use_point=use_point,
        use_boundary=use_boundary,
        presence_threshold=presence_threshold,
    )
    with store.replaced_at_once(target) as new:
        description.save(new)
        for part in network_folders(new).values():
            read_description(part)
        zoo.ModelCard(
            name=target.name,
            summary=f"PSLG-SAM of your own: the boxes of {place.name}, the masks of {sam.name}.",
            paper="Li et al., PSLG-SAM, arXiv 2506.10503",
        ).save(new)
