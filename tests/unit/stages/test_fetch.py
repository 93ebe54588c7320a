"""Downloads from a small local server in the formats of the real ones."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import threading
import zipfile
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_file
from prism.environments.webshop.products import PUBLISHED
from prism.stages import backbone, fetch
from prism.stages.fetch import UnpackLimits, download_url, fetch_collection, read_collection, unpack

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_a_secret_that_must_not_be_shown"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    """Git's hash of a blob, which the hub states for small files."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def zip_of(members: dict[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o120777 if name in links else 0o100644) << 16
            archive.writestr(info, content)
    return out.getvalue()


class Site(http.server.BaseHTTPRequestHandler):
    """Plain files with ranges, and as much of the hub's interface as its library asks for."""

    files: ClassVar[dict[str, bytes]] = {}
    repositories: ClassVar[dict[str, dict[str, bytes]]] = {}
    gated: ClassVar[set[str]] = set()
    cut_after: ClassVar[dict[str, int]] = {}
    seen: ClassVar[list[tuple[str, str, str]]] = []
    lies: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.seen.append((self.command, path, self.headers.get("Range", "")))
        if path in self.files:
            self.send_file(path, self.files[path])
        elif path.startswith("/api/"):
            _, _, kind, owner, name, what, *_ = path.split("/")
            self.send_listing(f"{'' if kind == 'models' else kind + '/'}{owner}/{name}", what)
        elif "/resolve/" in path:
            repository, _, rest = path[1:].partition("/resolve/")
            revision, _, name = rest.partition("/")
            assert revision == COMMIT
            content = self.repositories.get(repository, {}).get(name)
            if repository in self.gated:
                self.refuse(403, "GatedRepo")
            elif content is None:
                self.refuse(404, "EntryNotFound")
            else:
                self.send_file(path, self.lies.get(name, content), {"X-Repo-Commit": COMMIT, "ETag": sha256(content)})
        else:
            self.refuse(404, "")

    def send_listing(self, repository, what):
        if repository in self.gated:
            return self.refuse(403, "GatedRepo")
        if repository not in self.repositories:
            return self.refuse(404, "RepoNotFound")
        files = self.repositories[repository]
        if what == "tree":
            body = [
                {
                    "type": "file", "path": name, "size": len(content), "oid": git_hash(content),
                    **({"lfs": {"oid": sha256(content), "size": len(content), "pointerSize": 130}}
                       if name.endswith(".safetensors") else {}),
                }
                for name, content in files.items()
            ]  # fmt: skip
        else:
            siblings = [{"rfilename": name} for name in files]
            body = {"id": repository, "sha": COMMIT, "siblings": siblings, "cardData": {"license": "apache-2.0"}}
        self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})
        return None

    def send_file(self, path, content, headers=None):
        start = 0
        if ranged := self.headers.get("Range"):
            start = int(ranged.removeprefix("bytes=").split("-")[0])
            if start >= len(content):
                return self.refuse(416, "")
        body, cut = content[start:], self.cut_after.pop(path, None)
        self.answer(206 if ranged else 200, body, headers or {}, cut)
        return None

    def refuse(self, status, code):
        self.answer(status, b"", {"X-Error-Code": code, "X-Error-Message": "refused"})

    def answer(self, status, body, headers, cut=None):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def site(monkeypatch):
    for name, empty in (("files", {}), ("repositories", {}), ("gated", set()), ("cut_after", {}), ("seen", []),
                        ("lies", {})):  # fmt: skip
        monkeypatch.setattr(Site, name, empty)
    for variable in ("HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Site.address = f"http://127.0.0.1:{server.server_port}"
    yield Site
    server.shutdown()
    server.server_close()


GAMES = {
    "json_2.1.1/train/look-1/trial_1/traj_data.json": b"{}",
    "json_2.1.1/valid_seen/look-2/trial_2/traj_data.json": b"{}",
    "json_2.1.1/valid_unseen/look-3/trial_3/traj_data.json": b"{}",
}


def catalog(folder: Path, **collections) -> Path:
    path = folder / "downloads.yaml"
    path.write_text(yaml.safe_dump({name: {"title": name, "licence": "MIT", "page": "https://example.org", **value}
                                    for name, value in collections.items()}))  # fmt: skip
    return path


@pytest.fixture
def games(site, tmp_path):
    """A catalog with one archive, of which no hash is published."""
    site.files["/games.zip"] = zip_of(GAMES)
    file = {"name": "games.zip", "url": f"{site.address}/games.zip", "unpack": True}
    return catalog(tmp_path, games={"files": [file], "provides": ["json_2.1.1/train", "json_2.1.1/valid_seen"]})


def test_an_archive_is_fetched_unpacked_and_written_down(games, site, tmp_path, capsys):
    fetch_collection("games", games, tmp_path / "data", tmp_path / "out.json")
    for name, content in GAMES.items():
        assert (tmp_path / "data" / name).read_bytes() == content
    manifest = read_json(tmp_path / "out.json")
    assert manifest["licence"] == "MIT"
    assert manifest["files"]["games.zip"]["sha256"] == sha256(site.files["/games.zip"])
    assert manifest["files"]["games.zip"]["verified"] == fetch.FIRST_USE
    assert "not verified against a published hash" in capsys.readouterr().err


def test_a_second_time_nothing_is_downloaded(games, site, tmp_path):
    for _ in range(2):
        fetch_collection("games", games, tmp_path / "data", tmp_path / "out.json")
    assert len(site.seen) == 1


def test_what_was_first_seen_holds(games, site, tmp_path):
    fetch_collection("games", games, tmp_path / "data", tmp_path / "out.json")
    (tmp_path / "data/games.zip").write_bytes(zip_of({"evil": b"1"}))
    with pytest.raises(BadInput, match=r"does not match the sha256 in .*downloads\.lock\.json"):
        fetch_collection("games", games, tmp_path / "data", tmp_path / "out.json")


def test_an_unpacking_that_was_interrupted_is_done_again(games, tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(fetch, "unpack", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fetch_collection("games", games, tmp_path / "data", tmp_path / "out.json")
    fetch_collection("games", games, tmp_path / "data", tmp_path / "out.json")
    assert (tmp_path / "data/json_2.1.1/train").is_dir()


def test_a_folder_filled_by_hand_is_accepted_with_a_warning(games, site, tmp_path, capsys):
    for name in ("train", "valid_seen"):
        (tmp_path / "data/json_2.1.1" / name).mkdir(parents=True)
    fetch_collection("games", games, tmp_path / "data", tmp_path / "out.json")
    assert not site.seen
    assert "not verified" in capsys.readouterr().err
    assert set(read_json(tmp_path / "out.json")["files"]) == {"json_2.1.1/train", "json_2.1.1/valid_seen"}


def test_a_file_placed_beforehand_is_accepted_if_it_matches(site, tmp_path):
    content = b"[1, 2]"
    file = {"name": "items.json", "url": f"{site.address}/items.json", "sha256": sha256(content), "bytes": 6}
    path = catalog(tmp_path, shop={"files": [file], "provides": ["items.json"]})
    (tmp_path / "data").mkdir()
    (tmp_path / "data/items.json").write_bytes(content)
    fetch_collection("shop", path, tmp_path / "data", tmp_path / "out.json")
    assert not site.seen
    assert read_json(tmp_path / "out.json")["files"]["items.json"]["verified"] == fetch.PUBLISHED
    for wrong, problem in ((b"[1, 3]", "does not match its published sha256"), (b"[1]", "3 bytes instead of 6")):
        (tmp_path / "data/items.json").write_bytes(wrong)
        with pytest.raises(BadInput, match=problem):
            fetch_collection("shop", path, tmp_path / "data", tmp_path / "out.json")


def test_an_interrupted_download_goes_on(site, tmp_path):
    content = bytes(range(256)) * 16_000
    site.files["/big"] = content
    site.cut_after["/big"] = 2_500_000
    download_url(f"{site.address}/big", tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == content
    first, second = site.seen
    assert first[2] == ""
    assert 0 < int(second[2].removeprefix("bytes=").rstrip("-")) <= 2_500_000
    assert not list(tmp_path.glob("*.part"))


def test_a_missing_file_is_one_line(site, tmp_path):
    with pytest.raises(BadInput, match=r"cannot be downloaded \(status 404\); check the network, or place the file"):
        download_url(f"{site.address}/none", tmp_path / "none")
    assert len(site.seen) == 1


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_an_archive_cannot_leave_its_folder(tmp_path, name):
    (tmp_path / "a.zip").write_bytes(zip_of({"fine": b"1", name: b"2"}))
    with pytest.raises(BadInput, match="would leave the folder"):
        unpack(tmp_path / "a.zip", tmp_path / "inside", UnpackLimits())
    assert not (tmp_path / "inside").exists()
    assert not (tmp_path / "evil").exists()


def test_links_in_an_archive_are_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_of({"out": b"/etc", "out/passwd": b"x"}, links=("out",)))
    with pytest.raises(BadInput, match="is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "inside", UnpackLimits())


def test_a_link_that_lies_in_the_folder_is_not_followed(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/out").symlink_to(tmp_path)
    (tmp_path / "a.zip").write_bytes(zip_of({"out/evil": b"x"}))
    with pytest.raises(BadInput, match="through a link"):
        unpack(tmp_path / "a.zip", tmp_path / "inside", UnpackLimits())
    assert not (tmp_path / "evil").exists()


def test_bombs_are_refused(tmp_path):
    (tmp_path / "big.zip").write_bytes(zip_of({"zeros": bytes(5_000_000)}))
    with pytest.raises(BadInput, match="unpacks to too much"):
        unpack(tmp_path / "big.zip", tmp_path / "inside", UnpackLimits(bytes=1_000_000))
    (tmp_path / "many.zip").write_bytes(zip_of({str(number): b"" for number in range(20)}))
    with pytest.raises(BadInput, match="holds 20 files"):
        unpack(tmp_path / "many.zip", tmp_path / "inside", UnpackLimits(files=10))


def test_a_broken_archive_is_one_line(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<html>sign in</html>")
    with pytest.raises(BadInput, match="is not a sound zip archive"):
        unpack(tmp_path / "a.zip", tmp_path / "inside", UnpackLimits())


def eto_catalog(folder: Path, revision: str = COMMIT) -> Path:
    place = {"repository": "agent/eto", "revision": revision, "path": "data/alfworld_sft.json"}
    files = [{"name": "alfworld_sft.json", "hub": place}]
    return catalog(folder, eto={"files": files, "provides": ["alfworld_sft.json"]})


def test_a_file_of_the_hub_is_checked_against_the_hubs_hash(site, tmp_path):
    site.repositories["datasets/agent/eto"] = {"data/alfworld_sft.json": b"[]", "README.md": b"x"}
    fetch_collection("eto", eto_catalog(tmp_path), tmp_path / "d", tmp_path / "out.json", endpoint=site.address)
    assert (tmp_path / "d/alfworld_sft.json").read_bytes() == b"[]"
    assert read_json(tmp_path / "out.json")["files"]["alfworld_sft.json"]["verified"] == fetch.HUB
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["alfworld_sft.json", "downloads.lock.json"]


def test_other_bytes_than_the_hubs_are_refused(site, tmp_path):
    site.repositories["datasets/agent/eto"] = {"data/alfworld_sft.json": b"[]"}
    site.lies["data/alfworld_sft.json"] = b"{}"
    with pytest.raises(BadInput, match="does not match the hub's hash"):
        fetch_collection("eto", eto_catalog(tmp_path), tmp_path / "d", tmp_path / "out.json", endpoint=site.address)
    assert not (tmp_path / "d/alfworld_sft.json").exists()


def test_without_network_a_file_placed_beforehand_is_taken_on_first_use(tmp_path, site, capsys):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/alfworld_sft.json").write_bytes(b"[]")
    nowhere = "http://127.0.0.1:9"
    fetch_collection("eto", eto_catalog(tmp_path), tmp_path / "d", tmp_path / "out.json", endpoint=nowhere)
    assert read_json(tmp_path / "out.json")["files"]["alfworld_sft.json"]["verified"] == fetch.FIRST_USE
    assert "not verified" in capsys.readouterr().err


def test_a_branch_is_no_pin(site, tmp_path):
    with pytest.raises(BadInput, match="'main' is not a commit hash"):
        fetch_collection("eto", eto_catalog(tmp_path, "main"), tmp_path / "d", tmp_path / "o", endpoint=site.address)
    with pytest.raises(BadInput, match="'main' is not a commit hash"):
        backbone.download_backbone("Qwen/Qwen3-8B", "main", tmp_path / "model", endpoint=site.address)


MODEL = {
    "model-00001-of-00001.safetensors": b"weights",
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"pickle",
    "modeling_own.py": b"import os",
}


def test_a_backbone_is_downloaded_without_pickles_and_code(site, tmp_path):
    site.repositories["Qwen/Qwen3-8B"] = MODEL
    backbone.download_backbone("Qwen/Qwen3-8B", COMMIT, tmp_path / "model", endpoint=site.address)
    names = {path.name for path in (tmp_path / "model").glob("[!.]*")}
    assert names == {"model-00001-of-00001.safetensors", "config.json", "tokenizer.json", "source.json"}
    source = read_json(tmp_path / "model/source.json")
    assert source["licence"] == "apache-2.0"
    assert source["revision"] == COMMIT
    assert source["sha256"]["config.json"] == sha256_file(tmp_path / "model/config.json")


@pytest.mark.parametrize("name", ["model-00001-of-00001.safetensors", "config.json"])
def test_a_damaged_backbone_is_refused_and_leaves_nothing(site, tmp_path, name):
    site.repositories["Qwen/Qwen3-8B"] = MODEL
    site.lies[name] = MODEL[name][:-1] + b"!"
    with pytest.raises(BadInput, match="does not match the hub's hash"):
        backbone.download_backbone("Qwen/Qwen3-8B", COMMIT, tmp_path / "model", endpoint=site.address)
    assert not list(tmp_path.iterdir())


def test_a_gated_model_is_one_clear_line_without_the_token(site, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    site.gated.add("meta-llama/Llama-3.1-8B-Instruct")
    with pytest.raises(BadInput) as caught:
        backbone.download_backbone("meta-llama/Llama-3.1-8B-Instruct", COMMIT, tmp_path / "m", endpoint=site.address)
    message = str(caught.value)
    assert "accept its licence on https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct" in message
    assert "HF_TOKEN" in message
    assert "\n" not in message
    assert TOKEN not in message + "".join(capsys.readouterr())


def test_a_repository_that_is_not_there_is_one_line(site, tmp_path):
    with pytest.raises(BadInput, match="is not on the hub, or is private"):
        backbone.download_backbone("Qwen/Qwen9", COMMIT, tmp_path / "m", endpoint=site.address)


def test_the_projects_catalog_is_sound(root):
    """Pinned, with a licence, and with a hash wherever one is published."""
    for name in ("alfworld", "webshop", "webshop-small", "eto"):
        collection = read_collection(root / "resources/downloads.yaml", name)
        assert collection.licence
        assert collection.page.startswith("https://")
        for file in collection.files:
            assert file.url.startswith("https://") if file.url else len(file.hub.revision) == 40
            assert len(file.sha256) in (0, 64)
        if name.startswith("webshop"):
            assert {file.name: file.sha256 for file in collection.files}.items() <= PUBLISHED.items()
            assert all(file.bytes for file in collection.files)


def test_an_unknown_collection_or_key_is_one_line(tmp_path):
    path = catalog(tmp_path, shop={"files": [{"name": "a", "ulr": "https://example.org"}]})
    with pytest.raises(BadInput, match="has no collection 'shpo'; use one of shop"):
        read_collection(path, "shpo")
    with pytest.raises(BadInput, match="did you mean 'url'"):
        read_collection(path, "shop")
