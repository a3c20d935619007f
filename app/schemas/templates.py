"""What people may change of a template; everything else of it is Proxmox's."""

from typing import Annotated

from pydantic import AfterValidator, Field

from app.schemas.servers import MemoryMib, Strict, _username


class TemplateInput(Strict):
    """`PATCH /api/templates/<id>`; only what is given changes."""

    offered: bool | None = None
    min_memory_mib: MemoryMib | None = None
    username: Annotated[str, Field(max_length=32), AfterValidator(_username)] | None = None
