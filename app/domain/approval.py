"""When a project wants a person to look at a plan that nothing else stops."""

from enum import StrEnum


class ApprovalPolicy(StrEnum):
    NEVER = "never"  # what was asked for goes on alone
    ADDS_ONLY = "adds_only"  # only plans that make servers and nothing else go on alone
    DESTROYING = "destroying"  # plans that delete or replace wait
    ALWAYS = "always"
