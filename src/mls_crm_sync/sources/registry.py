"""All kinds of sources there are, by name. One line each."""

from __future__ import annotations

from collections.abc import Mapping

from . import fake, folder
from .homeharvest import source as homeharvest
from .kinds import Kind

_ALL: tuple[Kind, ...] = (folder.FILE, folder.FOLDER, fake.KIND, homeharvest.KIND)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
