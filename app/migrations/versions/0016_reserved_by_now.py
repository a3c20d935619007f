"""Whether a number is reserved at this very moment: a statement sees what was committed before it began, a function of its own what is now."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Volatile and in PL/pgSQL: only then each statement in it looks anew.
    op.execute("""
create function reserved_by_now(of_cluster bigint, of_kind text, of_scope text, of_value text) returns boolean
language plpgsql volatile as $$
begin
    return exists (
        select 1 from reservation r
        where r.cluster_id = of_cluster and r.kind = of_kind and r.scope = of_scope and r.value = of_value
    );
end
$$
""")


def downgrade() -> None:
    op.execute("drop function reserved_by_now")
