"""`python -m tests.chaos.replan WORKSPACE …` with an instance's environment: what Terraform would change there now.

Uses the newest state and the inputs of the rows as they are, with the product's module and a local backend. Prints one
JSON object: workspace id → the changes that a plan shows, as `slug: action`; nothing means that state, rows and Proxmox agree.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sqlalchemy import select

from app.adapters.terraform import events
from app.adapters.terraform.binary import tool_environment
from app.adapters.terraform.skeleton import MODULE, ensure_skeleton
from app.domain.run_state import RunKind
from app.domain.server_status import ServerStatus
from app.extensions import db
from app.models import Run, Server
from app.services import states, workspaces
from app.services.context import application

LIMIT_S = 60


def changes(workspace_id: int, access: dict[str, str], place: Path) -> list[str]:
    """Plan one workspace."""
    skeleton = ensure_skeleton()
    with db.session() as session:
        body = states.latest(session, workspace_id).body
        rows = session.scalars(select(Server).where(Server.workspace_id == workspace_id, Server.deleted_at.is_(None))).all()
        running = {s.slug: s.status == ServerStatus.RUNNING for s in rows if s.in_state}
        # Half-made: no input describes it, and the state may have it.
        unfinished = {s.slug for s in rows if s.status == ServerStatus.FAILED}
        inputs = workspaces.render_inputs(session, Run(kind=RunKind.CHANGE, workspace_id=workspace_id, targets=[], intent={}), running)
        session.rollback()
    if body is None:
        return []
    folder = place / str(workspace_id)
    folder.mkdir()
    for source in MODULE.glob("*.tf"):
        shutil.copyfile(source, folder / source.name)
    (folder / "backend_override.tf").write_text('terraform {\n  backend "local" {}\n}\n', encoding="utf-8")
    (folder / "terraform.tfvars.json").write_text(json.dumps(inputs), encoding="utf-8")
    env = tool_environment(folder, skeleton.cli_config) | access
    binary = skeleton.binary.argv
    subprocess.run([*binary, "init", "-input=false"], cwd=folder, env=env, check=True, capture_output=True, timeout=LIMIT_S)
    (folder / "terraform.tfstate").write_bytes(body)
    done = subprocess.run([*binary, "plan", "-input=false", "-json"], cwd=folder, env=env, capture_output=True, timeout=LIMIT_S, check=False)
    lines = list(events.parse(done.stdout))
    if done.returncode:
        return [f"plan failed: {d.summary} {d.detail}"[:300] for d in events.diagnostics(lines)] or ["plan failed"]
    return [f"{c.slug}: {c.action} {c.reason or ''}".strip() for c in events.changes(lines) if c.slug not in unfinished]


def main() -> int:
    """Plan all that are named on the command line; what Terraform needs to know of Proxmox comes as JSON on stdin."""
    access = json.load(sys.stdin)
    with application(), tempfile.TemporaryDirectory(prefix="tpm-replan-") as place:
        print(json.dumps({int(text): changes(int(text), access, Path(place)) for text in sys.argv[1:]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
