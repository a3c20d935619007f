"""What a request for a preset may hold."""

from typing import Annotated

from pydantic import Field

from app.schemas.networks import Name
from app.schemas.servers import Cores, MemoryMib, Number, SizeGib, Strict


class PresetInput(Strict):
    """`POST /api/presets`; `position` orders the list."""

    name: Name
    cores: Cores
    memory_mib: MemoryMib
    disk_gib: SizeGib
    position: Annotated[int, Number, Field(ge=0, le=10_000)] = 0
