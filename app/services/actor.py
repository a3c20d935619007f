"""Who asks: the person (or the system) behind a request, without the session it came by."""

from dataclasses import dataclass

from app.domain.permissions import Permission, Role, allows
from app.errors import Forbidden
from app.models import User


@dataclass(frozen=True)
class Actor:
    """`address` is the caller's network address, for the audit list; `language` is for texts made for this caller."""

    user_id: int
    username: str
    role: Role
    address: str = ""
    language: str = "en"

    @classmethod
    def of(cls, user: User, address: str = "", language: str = "en") -> "Actor":
        return cls(user.id, user.username, user.role, address, user.language or language)

    def can(self, permission: Permission) -> bool:
        """True when the role holds the permission."""
        return allows(self.role, permission)

    def need(self, permission: Permission) -> None:
        """Raise Forbidden unless the role holds the permission."""
        if not self.can(permission):
            raise Forbidden(permission=permission.value)
