"""The button on a failed run's card: what this reader may do about the failure."""

from collections.abc import Collection, Mapping
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


WORDS: dict[Remedy, LazyString] = {
    Remedy.RETRY: _l("Try again"),
    Remedy.OTHER_NODE: _l("Choose another node"),
    Remedy.OTHER_STORAGE: _l("Choose another storage"),
    Remedy.OTHER_TEMPLATE: _l("Choose another template"),
    Remedy.OTHER_NETWORK: _l("Choose another network"),
    Remedy.CHANGE: _l("Change the values"),
    Remedy.CLUSTER: _l("Open the cluster's connection"),
    Remedy.RAISE_TIMEOUT: _l("Raise the time limit"),
    Remedy.WORKSPACE: _l("Open the workspace"),
    Remedy.FORGET: _l("Forget the server"),
}
# What the create form is opened with another one of; a change of values is anywhere in it.
OTHERS = {
    Remedy.OTHER_NODE: "node", Remedy.OTHER_STORAGE: "storage", Remedy.OTHER_TEMPLATE: "template", Remedy.OTHER_NETWORK: "network",
    Remedy.CHANGE: None,
}  # fmt: skip


def button(actor: Actor, run: Run, may: Mapping[str, bool], alive: Collection[str]) -> Button | None:
    """Return the button for a run's failure; None when there is nothing to press, or not for this reader.

    `alive`: names of the run's servers that are on the list.
    """
    remedy = remedy_of(str(run.error["code"])) if run.error else Remedy.NONE
    if remedy == Remedy.CLUSTER:
        return _page(actor, Permission.MANAGE_CLUSTERS, remedy, "plug", url_for("admin_clusters.edit", cluster_id=run.workspace.cluster_id))
    if remedy == Remedy.RAISE_TIMEOUT:
        return _page(actor, Permission.MANAGE_SETTINGS, remedy, "clock", url_for("admin_settings.index", _anchor="fld-clone_timeout_min"))
    if remedy == Remedy.WORKSPACE:
        return _page(actor, Permission.LOCK, remedy, "box", url_for("workspaces.show", name=run.workspace.name))
    if remedy == Remedy.FORGET:
        return _page(actor, Permission.DELETE, remedy, "trash", url_for("servers.detail", name=run.names[0], _anchor="delete")) if alive else None
    if remedy in OTHERS and may["edit"]:
        other = OTHERS[remedy]
        return Button(WORDS[remedy], "pencil", url_for("servers.new", again=run.id, other=other, _anchor=other and f"fld-{other}"))
    if remedy != Remedy.NONE and may["repeat"]:
        return Button(WORDS[Remedy.RETRY], "refresh", url_for("runs.retry", run_id=run.id), post=True)
    return None


def _page(actor: Actor, permission: Permission, remedy: Remedy, icon: str, href: str) -> Button | None:
    return Button(WORDS[remedy], icon, href) if actor.can(permission) else None
