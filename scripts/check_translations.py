"""Check that every sentence has a translation; exit 1 with the list of those that have none.

    python -m scripts.check_translations            # missing, obsolete, or with other places than the original
    python -m scripts.check_translations --update   # first bring the catalogues up to date with the sources
"""

import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
CATALOGUES = ROOT / "app" / "translations"
KEYWORDS = ("-k", "_l", "-k", "lazy_gettext", "-k", "ngettext:1,2")
PLACE = re.compile(r"%\(\w+\)[sd]")


def extract() -> Catalog:
    """Return what the sources say now."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "messages.pot"
        command = [sys.executable, "-m", "babel.messages.frontend", "-q", "extract", "-F", "babel.cfg", *KEYWORDS]
        subprocess.run([*command, "--no-location", "--sort-output", "-o", str(out), "."], cwd=ROOT, check=True)  # noqa: S603
        with out.open("rb") as file:
            return read_po(file)


def _forms(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [str(v) for v in value] if isinstance(value, list | tuple) else []


def _name(message: Message) -> str:
    return " | ".join(_forms(message.id))


def faults(sources: Catalog, catalogue: Catalog) -> Iterator[str]:
    """Yield what is wrong with a catalogue."""
    for message in sources:
        if not message.id:
            continue
        found = catalogue.get(_forms(message.id)[0])
        texts = _forms(found.string) if found is not None else []
        if found is None or not texts or not all(texts) or found.fuzzy:
            yield f"not translated: {_name(message)}"
        elif any(set(PLACE.findall(text)) - set(PLACE.findall(_name(message))) for text in texts):
            yield f"other places than the original: {_name(message)}"
    known = {_forms(m.id)[0] for m in sources if m.id}
    for message in catalogue:
        if message.id and _forms(message.id)[0] not in known:
            yield f"no longer used: {_name(message)}"


def main() -> int:
    sources = extract()
    found = []
    for path in sorted(CATALOGUES.glob("*/LC_MESSAGES/*.po")):
        with path.open("rb") as file:
            catalogue = read_po(file, locale=path.parts[-3])
        if "--update" in sys.argv:
            catalogue.update(sources, no_fuzzy_matching=True)
            catalogue.obsolete.clear()
            out = io.BytesIO()
            write_po(out, catalogue, width=120, sort_output=True, ignore_obsolete=True)
            path.write_bytes(out.getvalue())
        found += [f"{path.relative_to(ROOT)}: {fault}" for fault in faults(sources, catalogue)]
    print("\n".join(found) or "translations: complete")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
