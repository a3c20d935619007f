"""The button on a failed run's card: what this reader may do about the failure."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import url_for
from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from app.domain.failures import Remedy, remedy_of
from app.domain.permissions import Permission
from app.models import Run
from app.services.actor import Actor


@dataclass(frozen=True)
class Button:
    """`post`: the address changes something, else it is a page."""

    label: LazyString
    icon: str
    href: str
    post: bool = False


# A change or a deletion names a server, whose node, storage and template are given.
TRY_AGAIN = _l("Try again")
WORDS: dict[Remedy, LazyString] = {
    Remedy.RETRY: _l("Create again"),
    Remedy.OTHER_NODE: _l("Choose another node"),
    Remedy.OTHER_STORAGE: _l("Choose another storage"),
    Remedy.OTHER_TEMPLATE: _l("Choose another template"),
    Remedy.OTHER_NETWORK: _l("Choose another network"),
    Remedy.CLUSTER: _l("Open the cluster's connection"),
    Remedy.RAISE_TIMEOUT: _l("Raise the time limit"),
    Remedy.WORKSPACE: _l("Open the workspace"),
}
# What the create form is opened with another one of.
OTHERS = {Remedy.OTHER_NODE: "node", Remedy.OTHER_STORAGE: "storage", Remedy.OTHER_TEMPLATE: "template", Remedy.OTHER_NETWORK: "network"}


def button(actor: Actor, run: Run, may: Mapping[str, bool]) -> Button | None:
    """Return the button for a run's failure; None when there is nothing to press, or not for this reader."""
    if not run.error:
        return None
    remedy = remedy_of(str(run.error["code"]))
    if remedy == Remedy.NONE:
        return None
    if remedy == Remedy.CLUSTER:
        return _page(actor, Permission.MANAGE_CLUSTERS, remedy, "plug", url_for("admin_clusters.edit", cluster_id=run.workspace.cluster_id))
    if remedy == Remedy.RAISE_TIMEOUT:
        return _page(actor, Permission.MANAGE_SETTINGS, remedy, "clock", url_for("admin_settings.index", _anchor="fld-clone_timeout_min"))
    if remedy == Remedy.WORKSPACE:
        return _page(actor, Permission.LOCK, remedy, "box", url_for("workspaces.show", name=run.workspace.name))
    if may["retry"]:
        other = OTHERS.get(remedy)
        return Button(WORDS[remedy], "refresh", url_for("servers.new", again=run.id, other=other, _anchor=other and f"fld-{other}"))
    return Button(TRY_AGAIN, "refresh", url_for("runs.retry", run_id=run.id), post=True) if may["repeat"] else None


def _page(actor: Actor, permission: Permission, remedy: Remedy, icon: str, href: str) -> Button | None:
    return Button(WORDS[remedy], icon, href) if actor.can(permission) else None
