"""The files of the live page: served with the right headers, packed into the wheel, without other hosts or inline code."""

import hashlib
import re
import zipfile
from pathlib import Path

import httpx
import pytest
from hatchling.builders.wheel import WheelBuilder
from starlette.applications import Starlette

from backpack_streams.gateway.page import CONTENT_SECURITY_POLICY, routes

ROOT = Path(__file__).parents[3]
ASSETS = ROOT / "services" / "backpack_streams" / "gateway" / "page" / "assets"
FILES = sorted(path.relative_to(ASSETS).as_posix() for path in ASSETS.rglob("*") if path.is_file())
OURS = [name for name in FILES if not name.startswith("vendor/")]
MAY_BE_NAMED = {"https://www.tradingview.com/", "http://www.w3.org/2000/svg"}
"""A link that a reader may follow, and the name of a format: the page itself fetches neither."""


async def ask(path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(Starlette(routes=list(routes())))
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
        return await client.get(path, headers=headers)


@pytest.mark.parametrize("name", FILES)
async def test_each_file_is_served_unchanged(name: str) -> None:
    answer = await ask(f"/assets/{name}")
    assert answer.status_code == 200
    assert answer.content == (ASSETS / name).read_bytes()
    assert answer.headers["x-content-type-options"] == "nosniff"
    kinds = {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".css": "text/css",
        ".svg": "image/svg+xml",
        ".html": "text/html",
    }
    if (kind := kinds.get(Path(name).suffix)) is not None:
        assert answer.headers["content-type"].partition(";")[0] == kind


async def test_the_page_is_the_root_and_refuses_inline_code_and_other_hosts() -> None:
    answer = await ask("/")
    assert answer.content == (ASSETS / "index.html").read_bytes()
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    directives = dict(each.strip().split(" ", 1) for each in CONTENT_SECURITY_POLICY.split(";"))
    assert directives["default-src"] == "'self'"
    assert not {"script-src", "style-src", "connect-src", "font-src"} & directives.keys()
    assert "unsafe" not in CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}'])
async def test_a_file_the_browser_has_is_not_sent_again(form: str) -> None:
    first = await ask("/assets/js/main.js")
    again = await ask("/assets/js/main.js", **{"If-None-Match": form.format(first.headers["etag"])})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = await ask("/assets/js/main.js", **{"If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    "path", ["/assets/nothing.js", "/assets/../__init__.py", "/assets/%2e%2e/__init__.py", "/assets/"]
)
async def test_only_files_of_the_page_are_served(path: str) -> None:
    assert (await ask(path)).status_code == 404


def test_all_files_are_in_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKPACK_STREAMS_PURE", "1")
    compiled = sorted(ROOT.glob("services/**/_quick_*.so"))
    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path)))
    assert sorted(ROOT.glob("services/**/_quick_*.so")) == compiled, "who runs from this tree would go on slower"
    prefix = "backpack_streams/gateway/page/assets/"
    names = zipfile.ZipFile(wheel).namelist()
    assert sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix)) == FILES


@pytest.mark.parametrize("name", OURS)
def test_no_file_of_ours_names_another_host(name: str) -> None:
    found = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'<>)]*", (ASSETS / name).read_text("utf-8")))
    assert found <= MAY_BE_NAMED


def test_the_page_has_no_inline_script_style_or_handler() -> None:
    html = (ASSETS / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html) == []


def test_every_referenced_module_and_sheet_exists() -> None:
    for name in OURS:
        text = (ASSETS / name).read_text("utf-8")
        named = re.findall(r"[\"'(]/assets/([\w./-]+)", text)
        if name.endswith(".js"):
            named += [f"js/{each}" for each in re.findall(r"from \"\./([\w.-]+)\"", text)]
        assert [each for each in named if each not in FILES] == []


@pytest.mark.parametrize("folder", ["vendor/inter", "vendor/lightweight-charts"])
def test_third_party_files_are_unchanged_and_have_their_licence(folder: str) -> None:
    readme = (ASSETS / folder / "README.md").read_text("utf-8")
    files = [name for name in FILES if name.startswith(folder) and name.endswith((".mjs", ".woff2"))]
    assert len(files) == 1
    assert hashlib.sha256((ASSETS / files[0]).read_bytes()).hexdigest() in readme
    assert f"{folder}/LICENSE" in FILES


def test_prices_never_pass_through_a_float_on_the_page() -> None:
    for name in OURS:
        assert "parseFloat" not in (ASSETS / name).read_text("utf-8"), name
