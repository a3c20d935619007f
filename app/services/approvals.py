"""Who may approve a waiting plan, by the rule that its project has at this moment; and what a plan would wait for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain import approval
from app.domain.approval import Refusal, Rule, Stop
from app.domain.permissions import PERMISSIONS, Permission, Role
from app.domain.run_state import RunKind
from app.errors import Forbidden
from app.models import PlanChange, Project, Run, User, Workspace
from app.services.actor import Actor


class FourEyes(Forbidden):
    """The project wants another person than the requester."""

    code = "four_eyes"


class NotApprover(Forbidden):
    """The caller's role approves no plans of this kind in the project."""

    code = "not_approver"


@dataclass(frozen=True)
class Decision:
    """How a waiting plan is decided; the one answer for the approval itself, the page's buttons and the notifications."""

    rule: Rule
    stop: Stop
    requester_id: int
    requester: str

    def refusal(self, user_id: int, role: Role) -> Refusal | None:
        """Return why this person may not approve; None when he may (if he sees the run)."""
        return approval.refusal(self.rule, self.stop, role, user_id == self.requester_id)

    def check(self, actor: Actor) -> None:
        """Raise FourEyes, Forbidden or NotApprover unless the actor may approve."""
        refused = self.refusal(actor.user_id, actor.role)
        if refused == Refusal.SAME_PERSON:
            raise FourEyes(requester=self.requester)
        if refused and self.rule.approver_role is not None and self.stop != Stop.REQUESTER:
            raise NotApprover(project=self.rule.project)
        if refused:
            raise Forbidden(permission=Permission.APPROVE.value)

    @property
    def who(self) -> dict[str, Any]:
        """Who may decide, as {"code", "args"}."""
        return {"code": approval.who_decides(self.rule, self.stop), "args": {"requester": self.requester}}


def _rule(project: Project) -> Rule:
    return Rule(project.name, project.approval, project.approver_role, project.four_eyes)


def rule_of(session: Session, workspace_id: int) -> Rule:
    """Return the present rule of the workspace's project."""
    project = session.scalars(
        select(Project).join(Workspace, Workspace.project_id == Project.id).where(Workspace.id == workspace_id)
        # A runner's session may have read it before somebody changed it.
        .execution_options(populate_existing=True)
    ).one()  # fmt: skip
    return _rule(project)


def decision(session: Session, run: Run) -> Decision:
    """Return how the run's newest plan is decided now."""
    newest = select(func.max(PlanChange.fence)).where(PlanChange.run_id == run.id).scalar_subquery()
    actions = session.scalars(select(PlanChange.action).where(PlanChange.run_id == run.id, PlanChange.fence == newest).distinct())
    rule = rule_of(session, run.workspace_id)
    requester = session.scalar(select(User.username).where(User.id == run.created_by_id)) or ""
    return Decision(rule, approval.stop_of(rule, (run.guard or {}).get("code"), run.kind, actions), run.created_by_id, requester)


def people(session: Session, run: Run, concerned: Iterable[int]) -> set[int]:
    """Return the active users who may approve the run's plan; `concerned` see the run although they see not everything."""
    found, theirs = decision(session, run), set(concerned)
    users = session.execute(select(User.id, User.role).where(User.active))
    return {
        user_id for user_id, role in users
        if (user_id in theirs or Permission.VIEW_ALL in PERMISSIONS[role]) and found.refusal(user_id, role) is None
    }  # fmt: skip


def reason(rule: Rule, kind: RunKind, actions: Iterable[str]) -> dict[str, Any] | None:
    """Return why the project's policy lets no such plan go on alone, as {"code", "args"}; None when it does."""
    if not approval.stops(rule.policy, kind, actions):
        return None
    return {"code": approval.REASONS[rule.policy], "args": {"project": rule.project}}


def forewarning(session: Session, actor: Actor, kind: RunKind, workspace_id: int | None = None) -> Mapping[str, Any] | None:
    """Return who will decide when a plan of what the actor is about to ask for has to wait; None when it will not.

    Without a workspace: for new servers, which go to the first project.
    """
    if workspace_id is not None:
        rule = rule_of(session, workspace_id)
    else:
        first = session.scalar(select(Project).order_by(Project.id).limit(1))
        rule = _rule(first) if first else Rule("")
    action = {RunKind.CREATE: "create", RunKind.DELETE: "delete"}.get(kind, "update")
    if not approval.stops(rule.policy, kind, [action]):
        return None
    return Decision(rule, Stop.POLICY, actor.user_id, actor.username).who
