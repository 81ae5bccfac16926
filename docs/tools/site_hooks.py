"""Hooks of the documentation's site: files outside of docs/, links as the repository has them, and nothing from another host.

Pages link to each other, to schemas and to examples as files of the repository, so that the same page reads well in a checkout. On the
site those files have places of their own, and each link is turned to its file's place.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {
    "ARCHITECTURE.md": "concepts/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "helm/backpack-streams/README.md": "start/kubernetes.md",
}
"""Pages that lie elsewhere in the repository, with their places on the site."""
COPIED = (
    "LICENSE",
    "examples/*.py",
    "helm/backpack-streams/files/alerts.yaml",
    "helm/backpack-streams/files/dashboard.json",
    "schemas/*.avsc",
)
"""Other files that pages link to; they keep their paths."""
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(?=[)#])")
_LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//|<link\b(?![^>]*rel=[\"']?canonical)[^>]*\bhref=[\"']?(?:https?:)?//"
)
_IMPORTED = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//")


def site_places() -> dict[str, str]:
    """By path in the repository, the place on the site of each file that lies outside of docs/."""
    copied = (path.relative_to(ROOT).as_posix() for pattern in COPIED for path in sorted(ROOT.glob(pattern)))
    return PAGES | {path: path for path in copied}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that lie outside of docs/."""
    for path, place in site_places().items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links to their places on the site.

    Raises:
        PluginError: the file is not there, or has no place on the site.
    """
    del config, files
    places = site_places()
    here = page.file.src_uri
    source = next((path for path, place in PAGES.items() if place == here), f"docs/{here}")

    def turned(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        place = path.removeprefix("docs/") if path.startswith("docs/") else places.get(path)
        if place is None or not (ROOT / path).exists():
            raise PluginError(f"{source}: {match[1]} is not on the site")
        return posixpath.relpath(place, posixpath.dirname(here) or ".")

    return _LINK.sub(turned, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Hold the site against its promise: no page loads anything from another host.

    Raises:
        PluginError: one does.
    """
    site = Path(config.site_dir)
    for pattern, rule in (("*.html", _LOADED), ("*.css", _IMPORTED)):
        for path in site.rglob(pattern):
            found = rule.search(path.read_text("utf-8"))
            if found:
                raise PluginError(f"{path.relative_to(site)} loads from another host: {found[0][-120:]}")
