"""The documentation: its pages agree with the package, and no link of the built site is broken."""

import importlib.util
import re
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from click.testing import CliRunner

from deep_nb.cli import main
from deep_nb.replication import read_jobs

from .test_public import api

ROOT = Path(__file__).parent.parent
SITE = ROOT / "docs" / "_build" / "html"

built = pytest.mark.skipif(not SITE.is_dir(), reason="needs the site: make docs")


@pytest.fixture(scope="module")
def pages():
    """The module that writes the pages that are not typed."""
    sys.modules["api"] = api
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["api"]


@pytest.mark.slow
def test_the_gallery_has_every_figure_below_its_command(pages):
    gallery = pages.gallery()
    for job in read_jobs(ROOT / "experiments.yml", "full"):
        part = gallery.split(f"\n### {job.name}\n")[1].split("\n#")[0]
        assert f"--only {job.name}\n" in part
        drawn = {path.stem for path in (ROOT / "figures" / job.name).glob("*.svg")}
        assert set(re.findall(rf"\.\./figures/{job.name}/(\w+)\.png", part)) == drawn
    every = [*(ROOT / "figures").rglob("*.svg"), *(ROOT / "figures").rglob("*.gif")]
    assert len(re.findall(r"^:::\{figure\}", gallery, re.M)) == len(every)
    shown = "../figures/quickstart/settling.gif\n:loading: lazy\n:alt: One DEEP network settles"
    assert shown in gallery


def test_a_figure_has_the_caption_that_it_carries(pages):
    text = pages._figure(ROOT / "figures" / "quickstart" / "residual.svg")
    assert text.startswith(":::{figure} ../figures/quickstart/residual.png\n")
    assert text.endswith("\n\nThe same network: how both phases come to rest\n:::")


def test_the_bibliography_has_the_works_that_the_code_cites():
    code = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("deep_nb/**/*.py"))
    works = (ROOT / "article" / "references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{(\w+),", works, re.M)
    cited = re.findall(r"^\.\. \[(\w+)\] ", code, re.M)
    assert sorted(key for key in keys if not re.search(r"\d{4}", key)) == sorted(cited)
    assert len({*keys}) == len(keys)


@pytest.mark.slow
def test_the_commands_of_the_first_page_print_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    shown = re.findall(r"```sh\n([^\n]+)\n```\n\n```text\n(.*?)```", text, re.S)
    assert len(shown) == text.count("```sh\n") == 3
    for command, expected in shown:
        program, *words = shlex.split(command)
        assert program == "deep-nb"
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
        lines = [line.rstrip() for line in result.stdout.splitlines()]
        assert lines == [line.rstrip() for line in expected.splitlines()]


class Page(HTMLParser):
    """What a page links to, what it loads by itself, and the names of its places."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.places = set(), set(), {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.places.update(given[name] for name in ("id", "name") if given.get(name))
        if tag == "a" and given.get("href"):
            self.links.add(given["href"])
        elif given.get("src") or (tag == "link" and given.get("href")):
            self.loaded.add(given.get("src") or given["href"])


@pytest.mark.slow
@built
def test_no_link_of_the_site_is_broken_and_nothing_is_loaded_from_outside():
    found = {path: Page(path) for path in SITE.rglob("*.html")}
    assert len(found) > 30
    broken = []
    for path, page in found.items():
        local = {link for link in page.links if not re.match(r"(https?|mailto|data):", link)}
        for link in local | {source for source in page.loaded if not source.startswith("data:")}:
            address, place = urldefrag(unquote(link))
            target = (path.parent / address.split("?")[0]).resolve() if address else path
            wrong = not target.is_file() or SITE not in (target, *target.parents)
            if wrong or (target in found and place not in found[target].places):
                broken.append(f"{path.relative_to(SITE)}: {link}")
    assert broken == []


@built
def test_the_site_describes_every_public_name():
    for package in api.PACKAGES:
        page = Page(SITE / "docs" / "api" / f"{package}.html")
        assert {f"{package}.{name}" for name in api.public(package)} <= page.places
