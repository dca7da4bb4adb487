"""Check that a tag is the package's version and that the changelog has a dated section of it: ``just check-tag v0.1.0``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def faults(tag: str, version: str, changelog: str) -> list[str]:
    """Return what a release of this tag lacks."""
    found = [] if tag == f"v{version}" else [f"the tag must be v{version}, got {tag}"]
    if not re.search(rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        found.append(f"CHANGELOG.md must have the section `## {version} - YYYY-MM-DD`")
    return found


def main() -> None:
    """Print what is wrong and exit with status 1, or print that nothing is."""
    source = (ROOT / "fastrnn" / "_core" / "version.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    wrong = faults(sys.argv[1], version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"{sys.argv[1]} is the version, and CHANGELOG.md has its date")


if __name__ == "__main__":
    main()
