"""What comes in and goes out about projects."""

from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from app.domain.approval import APPROVER_ROLES, ApprovalPolicy
from app.domain.permissions import Role
from app.models import Project
from app.schemas.servers import Strict


def _approver(role: Role | None) -> Role | None:
    if role is not None and role not in APPROVER_ROLES:
        raise PydanticCustomError("not_an_approver", "not_an_approver")
    return role


class ProjectChange(Strict):
    """Body of `PATCH /api/projects/<id>`; what is left out stays. `approver_role` null: whoever has the permission."""

    approval: ApprovalPolicy = ApprovalPolicy.NEVER
    approver_role: Annotated[Role | None, AfterValidator(_approver)] = None
    four_eyes: bool = False


def project_json(project: Project) -> dict[str, Any]:
    """A project with its approval rule."""
    return {
        "id": project.id, "name": project.name, "approval": project.approval, "approver_role": project.approver_role,
        "four_eyes": project.four_eyes, "created_at": project.created_at,
    }  # fmt: skip
