"""The templates Proxmox has, as rows: which appeared, changed or went."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.adapters.proxmox.types import Config, Resources
from app.domain import vm_config
from app.domain.vm_config import Image
from app.models import Cluster, Template


def write_templates(session: Session, cluster: Cluster, resources: Resources, configs: Mapping[int, Config]) -> bool:
    """Bring the cluster's templates up to date; returns whether any changed.

    New ones are offered when the cluster is the simulated one or was just connected; later ones wait for somebody
    who offers them. A name is offered once.
    """
    now = session.scalars(select(func.clock_timestamp())).one()
    known = {t.vmid: t for t in session.scalars(select(Template).where(Template.cluster_id == cluster.id))}
    names = set(
        session.scalars(
            select(Template.name).where(Template.cluster_id != cluster.id, Template.offered, ~Template.gone)
        )
    )
    offer_new = cluster.embedded or not known
    shared = {(s.node_name, s.name): s.shared for s in resources.storages}
    before = {v: _facts(t) for v, t in known.items()}
    found = sorted((g for g in resources.guests if g.template and g.kind == "qemu"), key=lambda g: g.vmid)
    # First everything that leaves a name or gives it up, so that no two rows hold one at any moment.
    present = {g.vmid: g for g in found}
    for vmid, template in known.items():
        guest = present.get(vmid)
        if guest is None:
            template.gone = True
        elif guest.name and guest.name != template.name:
            template.name, template.offered = guest.name, template.offered and guest.name not in names
    for template in sorted(known.values(), key=lambda t: (not t.offered, t.id)):
        if template.offered and not template.gone:
            template.offered = template.name not in names
            names |= {template.name} if template.offered else set()
    session.flush()
    for guest in found:
        row = known.get(guest.vmid)
        config = configs.get(guest.vmid)
        if row is None:
            if config is None:
                continue  # its disks are not known yet: the next poll reads them
            row = Template(
                cluster_id=cluster.id, vmid=guest.vmid, name=guest.name or f"template-{guest.vmid}", gone=False,
                offered=offer_new and guest.name not in names, family=vm_config.family(guest.name),
                username=vm_config.login(config, guest.name)[:32], min_memory_mib=vm_config.min_memory_mib(guest.name),
            )  # fmt: skip
            names |= {row.name} if row.offered else set()
            session.add(row)
            known[guest.vmid] = row
        elif row.gone:
            row.gone, row.offered = False, row.offered and row.name not in names
            names |= {row.name} if row.offered else set()
        row.node_name, row.cores, row.memory_mib = guest.node_name, max(guest.cores, 1), guest.memory_mib
        disk = vm_config.boot_disk(config) if config else None
        if config is not None and disk is not None:
            row.disk_gib, row.disk_interface, row.storage = max(disk.size_gib, 1), disk.interface, disk.storage
            row.agent = vm_config.agent_on(config)
        if config is not None:
            _image(row, vm_config.image(config), now)
        row.storage_shared = shared.get((row.node_name, row.storage), row.storage_shared or False)
    session.flush()
    return before != {v: _facts(t) for v, t in known.items()}


def _image(row: Template, image: Image, now: datetime) -> None:
    """Note which image it is. When Proxmox does not tell since when, a change is as old as our noticing it."""
    if row.image != image.name:
        row.image_at = datetime.fromtimestamp(image.made_at_s, UTC) if image.made_at_s else now if row.image else None
        row.image = image.name


def _facts(template: Template) -> tuple[object, ...]:
    return tuple(getattr(template, c.key) for c in Template.__table__.columns if c.key not in ("id", "created_at"))
