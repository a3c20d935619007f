"""What people change about themselves: password, language, SSH keys."""

from app.adapters import passwords
from app.domain import server_spec
from app.errors import FieldError, Invalid
from app.models import User
from app.services import audit, users
from app.services.actor import Actor
from app.services.uow import UnitOfWork


def change_password(uow: UnitOfWork, actor: Actor, old: str, new: str, keep: str = "") -> User:
    """Change one's own password; every session ends but the one marked `keep`. Raises Invalid."""
    user = users.get(uow.session, actor.user_id)
    faults = users.password_faults(new, user.username, "new_password")
    if not passwords.verify(user.password_hash, old[: users.MAX_PASSWORD]):
        faults.insert(0, FieldError("old_password", "password_wrong"))
    elif old == new:
        faults.append(FieldError("new_password", "password_same"))
    if faults:
        raise Invalid(faults)
    user.password_hash, user.password_is_first = passwords.hash_password(new), False
    user.session_epoch += 1
    audit.record(uow, actor, "user.change_password", "user", user.id, user.username)
    users.tell_sessions(uow, user, keep)
    return user


def set_language(uow: UnitOfWork, actor: Actor, language: str | None) -> User:
    """Choose the language of pages and texts; None follows the browser. Raises Invalid."""
    if language not in (None, *users.LANGUAGES):
        raise Invalid([FieldError("language", "bad_language")])
    user = users.get(uow.session, actor.user_id)
    if user.language != language:
        user.language = language
        audit.record(uow, actor, "user.set_language", "user", user.id, user.username, language=language)
    return user


def set_ssh_keys(uow: UnitOfWork, actor: Actor, text: str) -> User:
    """Store one's public keys, one a line, offered when a server is made. Raises Invalid."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    faults = [
        FieldError("ssh_keys", "bad_ssh_key_line", {"line": number})
        for number, line in enumerate(lines, 1)
        if server_spec.ssh_key_fault(line)
    ]
    if sum(map(len, lines)) + len(lines) > 16_384:
        faults.append(FieldError("ssh_keys", "string_too_long", {"max_length": 16_384}))
    if faults:
        raise Invalid(faults)
    user = users.get(uow.session, actor.user_id)
    user.ssh_keys = "\n".join(lines)
    audit.record(uow, actor, "user.set_ssh_keys", "user", user.id, user.username, count=len(lines))
    return user
