"""Sending one message through apprise, in a process of its own.

A service may hang for ever in many ways; a process can be ended. It also keeps apprise's two hundred services out of the
workers' memory. Run as `python -m app.adapters.postman` it reads one JSON object from stdin and answers with another.
"""

import ipaddress
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from app.errors import AppError

TIMEOUT_S = 15.0
CONNECT_S, READ_S = 4, 8
# Services that only talk to a host over the network. Never what writes files, runs programs or shows things on this host.
SERVICES = {
    "mailto": "E-mail", "mailtos": "E-mail", "json": "Webhook (JSON)", "jsons": "Webhook (JSON)", "form": "Webhook (form)", "forms": "Webhook (form)",
    "slack": "Slack", "msteams": "Microsoft Teams", "workflows": "Microsoft Teams", "mmost": "Mattermost", "mmosts": "Mattermost", "discord": "Discord", "tgram": "Telegram",
    "ntfy": "ntfy", "ntfys": "ntfy", "gotify": "Gotify", "gotifys": "Gotify", "matrix": "Matrix", "matrixs": "Matrix", "rocket": "Rocket.Chat",
    "rockets": "Rocket.Chat", "pagerduty": "PagerDuty", "opsgenie": "Opsgenie", "pushover": "Pushover",
}  # fmt: skip
# Of these the address names the host that is asked; of the others the service itself does.
_OWN_HOST = frozenset({"mailto", "mailtos", "json", "jsons", "form", "forms", "mmost", "mmosts", "ntfy", "ntfys", "gotify", "gotifys", "matrix", "matrixs", "rocket", "rockets"})


class DeliveryFailed(AppError):
    """It was not delivered; `trouble` is the code of what kept it from being, beside the arguments of its text."""

    code = "delivery_failed"

    def __init__(self, trouble: str, **args: Any) -> None:
        super().__init__(trouble, **args)
        self.trouble = trouble


@dataclass(frozen=True)
class Message:
    title: str
    body: str
    failure: bool = False


def scheme_of(url: str) -> str:
    """Return the lower-case scheme of an address."""
    return url.partition("://")[0].strip().lower()


def hosts_of(url: str) -> list[str]:
    """Return the hosts that an address makes us talk to; none where the service is elsewhere and known."""
    scheme = scheme_of(url)
    if scheme not in _OWN_HOST:
        return []
    parts = urlsplit(url)
    named = [parts.hostname or ""] + [v for key in ("smtp", "host") for v in parse_qs(parts.query).get(key, [])]
    return [host for host in named if host]


def check_address(url: str, allow_local: bool) -> None:
    """Refuse addresses on this host or of the link: who may add a webhook must not reach what only this host may.

    Raises DeliveryFailed.
    """
    if scheme_of(url) not in SERVICES:
        raise DeliveryFailed("delivery_service_unknown", scheme=scheme_of(url)[:20])
    if allow_local:
        return
    for host in hosts_of(url):
        for address in _addresses(host):
            if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast or address.is_reserved:
                raise DeliveryFailed("delivery_address_local", host=host[:100])


def _addresses(host: str) -> Iterator["ipaddress.IPv4Address | ipaddress.IPv6Address"]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise DeliveryFailed("delivery_host_unknown", host=host[:100]) from None
    for *_, address in found:
        yield ipaddress.ip_address(str(address[0]).partition("%")[0])


def send(url: str, message: Message, allow_local: bool = False) -> None:
    """Deliver a message; returns when the service has taken it. Raises DeliveryFailed."""
    check_address(url, allow_local)
    asked = json.dumps({"url": url, "title": message.title, "body": message.body, "failure": message.failure})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "app.adapters.postman"], input=asked, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DeliveryFailed("delivery_timeout", seconds=int(TIMEOUT_S)) from None
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise DeliveryFailed("delivery_refused", reason=done.stderr.strip()[-300:]) from None
    if not answer["ok"]:
        raise DeliveryFailed("delivery_refused", reason=answer["reason"])


def _main() -> None:
    import logging  # noqa: PLC0415 - of the child only

    import apprise  # noqa: PLC0415
    from apprise import AppriseAsset, LogCapture, NotifyType  # noqa: PLC0415

    asked = json.load(sys.stdin)
    asset = AppriseAsset(app_id="Terraform Proxmox Manager", app_desc="Terraform Proxmox Manager", app_url="", async_mode=False)
    sender = apprise.Apprise(asset=asset)
    with LogCapture(level=logging.WARNING, fmt="%(message)s") as said:  # type: ignore[no-untyped-call]  # apprise has no types there
        url = asked["url"] + ("&" if "?" in asked["url"] else "?") + f"cto={CONNECT_S}&rto={READ_S}"
        ok = bool(sender.add(url)) and bool(
            sender.notify(title=asked["title"], body=asked["body"], notify_type=NotifyType.FAILURE if asked["failure"] else NotifyType.INFO)
        )
        text = said.getvalue()
    # The last words name the trouble; an address may be among them, with its password.
    reason = (text.strip().splitlines() or ["the service did not take it"])[-1].replace(asked["url"], "…")[:300]
    print(json.dumps({"ok": ok, "reason": "" if ok else reason}))


if __name__ == "__main__":
    _main()
