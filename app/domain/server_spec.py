"""What a server's name, tag and key may look like, and the names of a batch. Pure."""

import base64
import binascii
import re
import struct

MAX_BATCH = 100
NAME_BYTES = 63
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_TAG = re.compile(r"[a-z0-9_][a-z0-9_\-+.]*")
_USERNAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
KEY_TYPES = frozenset({
    "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
})  # fmt: skip


def batch_names(name: str, count: int) -> list[str]:
    """Return the names of `count` servers: the name itself, or name-1 … name-N."""
    return [name] if count == 1 else [f"{name}-{n}" for n in range(1, count + 1)]


def name_fault(name: str, count: int = 1) -> str | None:
    """Return what is wrong with a name (a code), or None.

    RFC 1123 host name label, lower case, since Proxmox and the guest both use it.
    """
    if not name:
        return "name_empty"
    if len(batch_names(name, count)[-1]) > NAME_BYTES:
        return "name_too_long"
    return None if _NAME.fullmatch(name) else "name_not_hostname"


def tag_fault(tag: str) -> str | None:
    """Return what is wrong with a tag, or None. Proxmox's pattern, lower case, at most 32 characters."""
    return None if len(tag) <= 32 and _TAG.fullmatch(tag) else "bad_tag"


def username_fault(name: str) -> str | None:
    """Return what is wrong with a login name of the guest, or None."""
    if name == "root":
        return None
    return None if _USERNAME.fullmatch(name) else "bad_username"


def ssh_key_fault(line: str) -> str | None:
    """Return what is wrong with one OpenSSH public key, or None: known type, and a body that says the same type."""
    parts = line.split(None, 2)
    if len(parts) < 2 or parts[0] not in KEY_TYPES or len(line) > 8192:
        return "bad_ssh_key"
    try:
        body = base64.b64decode(parts[1], validate=True)
        (length,) = struct.unpack(">I", body[:4])
    except (binascii.Error, ValueError, struct.error):
        return "bad_ssh_key"
    if body[4 : 4 + length] != parts[0].encode() or len(body) < 4 + length + 16:
        return "bad_ssh_key"
    return None if all(c.isprintable() for c in line) else "bad_ssh_key"


def text_fault(text: str, limit: int) -> str | None:
    """Return what is wrong with free text, or None. Anything printable goes; it is shown inert everywhere."""
    if len(text.encode("utf-8", "surrogatepass")) > limit:
        return "text_too_long"
    if any((ord(c) < 32 and c not in "\n\t") or 0xD800 <= ord(c) <= 0xDFFF or c == "\x7f" for c in text):
        return "text_control_characters"
    return None
