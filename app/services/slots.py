"""Storm control: how many clones one template, node and storage bear at a time, shared by all runs."""

from typing import Any

from sqlalchemy import delete, func, select, text, update

from app.domain.run_state import RunKind
from app.models import Run, Server, SlotHolder
from app.services import settings
from app.services.uow import UnitOfWork


def _wanted(uow: UnitOfWork, run: Run) -> dict[str, int]:
    """Slots the run could use, by resource; only creates copy disks."""
    if run.kind != RunKind.CREATE:
        return {}
    limits = settings.get(uow.session)
    servers = uow.session.scalars(
        select(Server).where(Server.workspace_id == run.workspace_id, Server.slug.in_(run.targets))
    ).all()
    out: dict[str, int] = {}
    for server in servers:
        for resource in (
            f"template:{server.cluster_id}:{server.template_id}",
            f"node:{server.cluster_id}:{server.node_name}",
            f"storage:{server.cluster_id}:{server.disks[0].get('storage')}",
        ):
            out[resource] = min(out.get(resource, 0) + 1, limits.parallelism)
    return out


def _limit(resource: str, limits: Any) -> int:
    return int({"template": limits.slots_per_template, "node": limits.slots_per_node, "storage": limits.slots_per_storage}[resource.split(":", maxsplit=1)[0]])


def take(uow: UnitOfWork, run: Run, fence: int) -> bool:
    """Take what is free, at least one of each resource, all in one transaction; False when one has none."""
    wanted = _wanted(uow, run)
    if not wanted:
        return True
    # One taker at a time: counting and taking must not interleave. Held to the end of a short transaction.
    uow.session.execute(text("select pg_advisory_xact_lock(77003, 0)"))
    limits = settings.get(uow.session)
    used = dict(
        uow.session.execute(
            select(SlotHolder.resource, func.sum(SlotHolder.taken))
            .where(SlotHolder.resource.in_(sorted(wanted)), SlotHolder.run_id != run.id)
            .group_by(SlotHolder.resource)
        ).all()
    )  # fmt: skip
    free = {resource: _limit(resource, limits) - int(used.get(resource, 0)) for resource in wanted}
    if min(free.values()) < 1:
        run.waiting_for = _reason(next(r for r, n in free.items() if n < 1))
        return False
    uow.session.execute(delete(SlotHolder).where(SlotHolder.run_id == run.id))
    uow.session.add_all(
        SlotHolder(run_id=run.id, fence=fence, resource=resource, taken=min(count, free[resource]))
        for resource, count in sorted(wanted.items())
    )
    uow.session.flush()
    return True


def _reason(resource: str) -> dict[str, Any]:
    kind, _cluster, name = resource.split(":", 2)
    return {"code": f"waiting_for_{kind}_slot", "args": {"name": name}}


def reason(uow: UnitOfWork, run: Run) -> dict[str, Any] | None:
    """Why `take` said no."""
    for resource in sorted(_wanted(uow, run)):
        used = uow.session.scalar(select(func.sum(SlotHolder.taken)).where(SlotHolder.resource == resource)) or 0
        if int(used) >= _limit(resource, settings.get(uow.session)):
            return _reason(resource)
    return None


def move(uow: UnitOfWork, run: Run, fence: int) -> None:
    """A new runner inherits what the former one of the same run held."""
    uow.session.execute(update(SlotHolder).where(SlotHolder.run_id == run.id).values(fence=fence))


def give_back(uow: UnitOfWork, run: Run) -> None:
    """Hold none any more."""
    uow.session.execute(delete(SlotHolder).where(SlotHolder.run_id == run.id))


def held(uow: UnitOfWork, run: Run) -> int:
    """Return the parallelism that the held slots allow; the default for runs that need none."""
    counts = list(uow.session.scalars(select(SlotHolder.taken).where(SlotHolder.run_id == run.id, SlotHolder.resource.like("template:%"))))
    return min(counts) if counts else settings.get(uow.session).parallelism
