"""Texts of safe changes."""

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

MESSAGES: dict[str, LazyString] = {
    "safe_change_port": _l("Name a port when a port is to answer, and only then."),
    "safe_change_networks": _l("Networks cannot be added or removed this way: going back would not give their addresses back."),
    "safe_change_stopped": _l("The server is off: it cannot answer after the change."),
    "safe_change_no_agent": _l("This server has no guest agent that could answer."),
    "safe_change_no_address": _l("This server has no address at which a port could answer."),
    "safe_change_decided": _l("It is not waiting for an answer any more."),
    "safe_change_by_hand": _l("%(by)s had it put back."),
    "safe_change_silent": _l("It did not answer within %(seconds)s seconds; it was asked %(tries)s times."),
    "safe_change_port_silent": _l("Port %(port)s of %(address)s does not answer: %(reason)s."),
    "safe_change_agent_silent": _l("The guest agent does not answer."),
    "safe_change_not_back": _l("It could not be put back to the snapshot “%(snapshot)s”."),
    "safe_change_back_but_off": _l("It was put back, but did not start again."),
    "safe_change_kept": _l("%(servers)s: changed, it answers."),
    "safe_change_rolled_back": _l("%(servers)s: the change was taken back."),
    "safe_change_failed": _l("%(servers)s: the safe change failed."),
}
HINTS: dict[str, LazyString] = {
    "safe_change_stopped": _l("Start it first, or change it without the snapshot."),
    "safe_change_no_agent": _l("Let a port answer instead, SSH’s 22 for example."),
    "safe_change_not_back": _l("The snapshot is still there: look at the server in Proxmox, and roll back from its page."),
    "safe_change_back_but_off": _l("Start it from its page."),
}
