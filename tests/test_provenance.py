"""Provenance names the checkout that holds the package, and gets into files anywhere."""

import codecs
import importlib.metadata
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import tomllib
import zlib
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import netCDF4
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import deep_nb
from deep_nb import _provenance
from deep_nb._files import sha256
from deep_nb._provenance import LIBRARIES, _commit, stamp

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


def git(folder, *words):
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "safe.directory=*"]
    words = ["git", *settings, "-C", str(folder), *words]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def checkout(folder, content):
    """Make a checkout with one file and return its commit."""
    folder.mkdir()
    (folder / "code.py").write_text(content)
    git(folder, "init", "--quiet")
    git(folder, "add", "code.py")
    git(folder, "commit", "--quiet", "--message", content)
    return git(folder, "rev-parse", "HEAD")


def test_the_commit_is_marked_while_tracked_files_differ(tmp_path):
    commit = checkout(tmp_path / "a", "1")
    assert len(commit) == 40
    (tmp_path / "a" / "untracked.py").write_text("2")
    assert _commit(tmp_path / "a") == commit
    (tmp_path / "a" / "code.py").write_text("2")
    assert _commit(tmp_path / "a") == commit + "+"
    (tmp_path / "a" / "code.py").write_text("1")
    assert _commit(tmp_path / "a") == commit
    git(tmp_path / "a", "rm", "--quiet", "--cached", "code.py")
    assert _commit(tmp_path / "a") == commit + "+"
    assert _commit(tmp_path) == ""


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"])
def test_the_environment_of_git_does_not_name_another_checkout(tmp_path, monkeypatch, name):
    commit, _ = checkout(tmp_path / "a", "1"), checkout(tmp_path / "b", "2")
    other = {"GIT_WORK_TREE": "b", "GIT_INDEX_FILE": "b/.git/index"}.get(name, "b/.git")
    monkeypatch.setenv(name, str(tmp_path / other))
    assert _commit(tmp_path / "a") == commit


@pytest.mark.skipif(os.name != "posix" or os.getuid(), reason="needs the right to give files away")
def test_a_checkout_of_another_owner_is_named(tmp_path):
    commit = checkout(tmp_path / "a", "1")
    for path in [tmp_path / "a", *(tmp_path / "a").rglob("*")]:
        os.chown(path, 12345, 12345)
    plain = subprocess.run(["git", "-C", str(tmp_path / "a"), "status"], capture_output=True)
    assert b"dubious ownership" in plain.stderr
    assert _commit(tmp_path / "a") == commit


def test_a_commit_that_git_cannot_tell_is_unknown(tmp_path, monkeypatch):
    checkout(tmp_path / "outer", "1")
    (tmp_path / "outer" / "a" / ".git").mkdir(parents=True)
    assert _commit(tmp_path / "outer" / "a").startswith("unknown: fatal: not a git repository")
    checkout(tmp_path / "b", "1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _commit(tmp_path / "b").startswith("unknown: ")
    assert _commit(tmp_path) == ""


def test_a_netcdf_file_is_stamped_where_the_file_system_has_no_locks(
    short_run, tmp_path, monkeypatch
):
    path = deep_nb.save(short_run, tmp_path / "run.nc")
    (tmp_path / "damaged.nc").write_text("damaged")
    opened = netCDF4.Dataset

    def without_locks(path, *arguments):
        if tmp_path in Path(path).parents:
            raise OSError(37, "No locks available", str(path))
        return opened(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(netCDF4, "Dataset", without_locks)
        stamp(path, {"n": 1})
        with pytest.raises(OSError, match="NetCDF: Unknown file format"):
            stamp(tmp_path / "damaged.nc", {"n": 1})
    stamped = deep_nb.load(path)
    assert stamped.attrs["provenance"] == '{"n": 1}'
    assert stamped.equals(short_run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.nc", "run.nc"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three sources and another file, in a checkout of its own."""
    commit = checkout(tmp_path / "a", "1")
    package = tmp_path / "a" / "deep_nb"
    (package / "sub").mkdir(parents=True)
    for name in ("a.py", "sub/b.yml", "sub/c.j2", "d.txt"):
        (package / name).write_text(name)
    monkeypatch.setattr(_provenance, "PACKAGE", package)
    return package, commit


def test_provenance_is_of_the_packages_checkout_and_this_machine(package, tmp_path, monkeypatch):
    other = checkout(tmp_path / "b", "2")
    monkeypatch.chdir(tmp_path / "b")
    origin = _provenance.provenance.__wrapped__()
    assert origin["commit"] == package[1] != other
    (tmp_path / "a" / "code.py").write_text("2")
    assert _provenance.provenance.__wrapped__()["commit"] == package[1] + "+"
    assert origin["deep_nb"] == importlib.metadata.version("deep-nb")
    assert origin["python"] == platform.python_version()
    assert origin["cpu"] == _provenance._cpu()
    assert origin["cores"] == os.cpu_count()
    assert {platform.system(), platform.machine()} <= {*origin["platform"].split("-")}
    assert origin["versions"] == {name: importlib.metadata.version(name) for name in LIBRARIES}


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="needs Linux")
def test_the_name_of_the_processor_is_what_linux_says():
    told = Path("/proc/cpuinfo").read_text()
    names = set(re.findall(r"^model name\s*: (.+)$", told, re.MULTILINE))
    assert _provenance._cpu() in (names or {platform.processor() or platform.machine()})


def test_code_is_every_source_file_python_and_the_versions(package):
    code = _provenance.code.__wrapped__()
    names = ("a.py", "sub/b.yml", "sub/c.j2")
    assert code["package"] == {name: sha256(package[0] / name) for name in names}
    python = {"python": platform.python_version()}
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    assert code["versions"] == python | versions


def test_every_library_that_computes_is_named():
    """All dependencies but those that only check, print, draw bars, or move files."""
    root = Path(deep_nb.__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = ("plot", "classifier", "report", "notebooks")
    lines = [
        *project["dependencies"],
        *(x for e in extras for x in project["optional-dependencies"][e]),
    ]
    needed = {re.match(r"[\w-]+", line)[0] for line in lines}
    assert needed - set(LIBRARIES) == {
        "array-api-compat", "click", "deep-nb", "filelock", "ipykernel", "jaxtyping", "jinja2",
        "jupyter", "lazy-loader", "mistune", "nbconvert", "nbformat", "psutil", "pydantic",
        "pyyaml", "threadpoolctl", "tqdm",
    }  # fmt: skip
    assert set(LIBRARIES) <= needed


def test_libraries_that_are_not_installed_have_no_version(monkeypatch):
    monkeypatch.setattr(_provenance, "LIBRARIES", ("no-such-library", "numpy"))
    assert _provenance._versions() == {"numpy": importlib.metadata.version("numpy")}


ORIGIN = {"error": '1 < 2 & "x"', "n": 1}


def test_a_stamped_picture_keeps_its_pixels_resolution_and_texts(tmp_path):
    path = tmp_path / "a.png"
    texts = PngInfo()
    texts.add_text("Title", "confusion")
    texts.add_text("Source", "earlier")
    Image.new("RGB", (3, 2), (9, 8, 7)).save(path, pnginfo=texts, dpi=(200, 200))
    for origin in ({"n": 0}, ORIGIN):
        stamp(path, origin)
    with Image.open(path) as image:
        assert json.loads(image.info["Source"]) == ORIGIN
        assert image.info["Title"] == "confusion"
        assert [round(value) for value in image.info["dpi"]] == [200, 200]
        assert image.tobytes() == bytes((9, 8, 7)) * 6


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_stamping_a_picture_changes_only_its_source(tmp_path, kind):
    """Such as one of 16 bits in three frames, which PIL would read as one of 8 bits."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    old = {"tEXt": b"1", "zTXt": b"\0" + zlib.compress(b"1"), "iTXt": bytes(4) + b"1"}[kind]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    frame = struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 1, 25, 0, 0)
    pixel = zlib.compress(b"\0" + bytes(range(6)))
    before = [chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"tEXt", b"Sources\0kept")]
    after = [
        chunk(b"fcTL", frame), chunk(b"IDAT", pixel), chunk(b"fcTL", b"\0\0\0\1" + frame[4:]),
        chunk(b"fdAT", b"\0\0\0\2" + pixel), chunk(b"IEND", b""), b"more",
    ]  # fmt: skip
    path, start = tmp_path / "a.png", b"\x89PNG\r\n\x1a\n" + header
    earlier = chunk(kind.encode(), b"Source\0" + old)
    path.write_bytes(b"".join([start, *before, earlier, *after]))
    stamp(path, {"é": "\ud800"})
    source = chunk(b"tEXt", rb"Source" + b"\0" + rb'{"\u00e9": "\ud800"}')
    assert path.read_bytes() == b"".join([start, source, *before, *after])
    with Image.open(path) as image:
        assert (image.n_frames, json.loads(image.info["Source"])) == (2, {"é": "\ud800"})
    whole = path.read_bytes()
    for damaged in (b"", whole[:20], whole[: whole.index(b"IEND") + 6], b"x" + whole[1:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"^a\.png is not a complete PNG file$"):
            stamp(path, {})
        assert path.read_bytes() == damaged


SVG = 'xmlns="http://www.w3.org/2000/svg"'


@pytest.mark.parametrize(
    "drawing",
    [
        f'<?xml version="1.0" encoding="iso-8859-1"?>\r\n<svg {SVG}><text>é</text></svg>'.encode(
            "latin-1"
        ),
        f'<?xml version="1.0" encoding="UTF-16"?><svg {SVG}><text>é→</text></svg>'.encode("utf-16"),
        f'<?xml version="1.0" encoding="UTF-16"?><svg {SVG}/>'.encode("utf-16-be"),
        f"\ufeff<svg {SVG}><text>é→</text></svg>".encode(),
        f"<svg {SVG}/>".encode(),
        f"<svg {SVG} class='a>b' id = \"c>d\"\n/>".encode(),
        f"<!-- <svg> --><?x <svg>?><!DOCTYPE svg [<!ENTITY x 's'>]>\n<svg {SVG}>&x;</svg>".encode(),
        b'<s:svg xmlns:s="http://www.w3.org/2000/svg"><s:g/></s:svg>',
        b'<s:svg xmlns:s="http://www.w3.org/2000/svg" />',
    ],
    ids=range(9),
)
def test_stamping_a_drawing_changes_only_its_source(tmp_path, drawing):
    path = tmp_path / "a.svg"
    if b"\0<" in drawing[:2]:
        drawing = codecs.BOM_UTF16_BE + drawing
    before = ElementTree.fromstring(drawing)
    path.write_bytes(drawing)
    for origin in ({"n": 0}, ORIGIN):
        stamp(path, origin)
    after = ElementTree.parse(path).getroot()
    (metadata,) = (child for child in after if child.tag.endswith("metadata"))
    assert [json.loads(child.text) for child in metadata] == [ORIGIN]
    assert (after.tag, after.attrib) == (before.tag, before.attrib)
    assert list(after.itertext())[1:] == list(before.itertext())
    assert len(after) == len(before) + 1
    if b"\r\n" in drawing:
        assert b"\r\n" in path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"7", b"\xff\xfe", b"<html><svg></svg></html>"])
def test_a_file_of_another_kind_is_not_stamped(tmp_path, content):
    path = tmp_path / "a.svg"
    path.write_bytes(content)
    stamp(path, ORIGIN)
    assert path.read_bytes() == content


@pytest.mark.parametrize("metadata", ["", "<metadata><dc:source>old</dc:source></metadata>"])
def test_a_drawing_is_stamped_once_and_stays_xml(tmp_path, metadata):
    path = tmp_path / "a.svg"
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    path.write_text(f"<svg {names}>{metadata}<g/></svg>")
    for origin in ({"n": 0}, ORIGIN):
        stamp(path, origin)
    sources = list(ElementTree.parse(path).iter("{http://purl.org/dc/elements/1.1/}source"))
    assert [json.loads(source.text) for source in sources] == [ORIGIN]


def test_git_is_asked_about_one_folder_and_not_waited_for_without_end(tmp_path, monkeypatch):
    asked = []

    def run(command, **options):
        asked.append((command, options))
        return SimpleNamespace(stdout=" told\n")

    monkeypatch.setattr(_provenance.subprocess, "run", run)
    monkeypatch.setenv("GIT_DIR", "elsewhere")
    monkeypatch.setenv("MINE", "kept")
    assert _provenance._git(tmp_path, "status", "-uno") == "told"
    ((command, options),) = asked
    environment = options.pop("env")
    assert command == ["git", "-C", str(tmp_path), "-c", "safe.directory=*", "status", "-uno"]
    assert options == {"capture_output": True, "errors": "replace", "check": True, "timeout": 30}
    assert environment["MINE"] == "kept"
    assert {name: value for name, value in environment.items() if name.startswith("GIT_")} == {
        "GIT_CEILING_DIRECTORIES": str(tmp_path.resolve().parent),
        "GIT_OPTIONAL_LOCKS": "0",
    }


def test_the_processor_is_the_first_of_linux_or_what_python_knows(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(_provenance, "Path", {"/proc/cpuinfo": info}.__getitem__)
    info.write_bytes(b"vendor: x\nmodel name\t: A: \xff\xc2\xb5 \nmodel name\t: B\n")
    assert _provenance._cpu() == "A: \ufffdµ"
    info.write_text("vendor: x\n")
    for processor, machine, told in [("p", "m", "p"), ("", "m", "m"), ("p", "", "p")]:
        monkeypatch.setattr(platform, "processor", lambda processor=processor: processor)
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert _provenance._cpu() == told
    info.unlink()
    assert _provenance._cpu() == "p"
