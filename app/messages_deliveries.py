"""Texts about notifications that leave the product: mailboxes and webhooks."""

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

MESSAGES: dict[str, LazyString] = {
    "delivery_failed": _l("It was not delivered."),
    "delivery_service_unknown": _l("“%(scheme)s” is no service that notifications can be sent to."),
    "delivery_address_local": _l("%(host)s is an address of this host or of its link; an administrator decides whether that is allowed."),
    "delivery_host_unknown": _l("The host “%(host)s” is not found."),
    "delivery_timeout": _l("No answer within %(seconds)s seconds."),
    "delivery_refused": _l("The service did not take it: %(reason)s"),
    "delivery_test_title": _l("A test of Terraform Proxmox Manager"),
    "delivery_test_body": _l("Notifications will come here."),
}
HINTS: dict[str, LazyString] = {
    "delivery_service_unknown": _l("Addresses begin with mailto://, jsons://, slack://, msteams://, mmosts://, discord://, tgram://, ntfys://, gotifys:// or matrixs://."),
}
