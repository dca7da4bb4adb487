"""Check the links inside a built site: ``python docs/_site/links.py site``. Each must name a file, and an element in it.

Sphinx checks the links that it writes itself. It does not check links in raw HTML, in the theme, or in the gallery. Pages of
source code (``_modules``) link back to functions by the names of their modules. A function that is public under another
name is not found there, so only the files of these links are checked.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The ids of a page, and its links to files and to elements."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Store the ids and links of one element."""
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.add(value)


def broken(site: Path) -> list[str]:
    """Return a line for each link from one of the site's pages to a file or an element that does not exist."""
    site, faults = site.resolve(), []
    pages = {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}
    for path, page in pages.items():
        of_code = "_modules" in path.parts
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists():
                faults.append(f"{path.relative_to(site)}: {link}: no such file")
            elif anchor and not of_code and target in pages and anchor not in pages[target].ids:
                faults.append(f"{path.relative_to(site)}: {link}: no such element")
    return faults


def main(folder: str) -> int:
    """Print the broken links, or that there are none; return 1 if a link is broken."""
    faults = broken(Path(folder))
    print("\n".join(faults) or f"{folder}: each link within the site leads to a file and an element")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
