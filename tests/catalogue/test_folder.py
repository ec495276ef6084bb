"""Files that rows name: inside the catalogue's folder, plain, not too large; and files written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from catalogue import folder as module
from catalogue.folder import BadFile, Folder, relative_path
from catalogue.protocol import ComfyError


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop" / "sub").mkdir(parents=True)
    (tmp_path / "shop" / "a.png").write_bytes(b"picture")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    return tmp_path / "shop"


def test_paths_are_made_uniform() -> None:
    assert relative_path(r"sub\.\a b.png") == relative_path("./sub//a b.png") == "sub/a b.png"
    assert relative_path("..a/b..png") == "..a/b..png"
    for path in (
        "sub/../a.png",
        "..",
        "/a",
        "\\a",
        "c:a",
        "C:/a",
        "//host/a",
        "s3://a/b",
        "a\nb",
        "a\0b",
        "",
        ".",
        "x" * 1001,
    ):
        with pytest.raises(ValueError):
            relative_path(path)


def test_links_may_not_lead_out(shop: Path) -> None:
    (shop / "out.png").symlink_to(shop.parent / "secret.txt")
    (shop / "way").symlink_to(shop.parent)
    (shop / "in.png").symlink_to(shop / "a.png")
    (shop / "twin").symlink_to(shop.parent / "shop-two")  # its path begins like the folder's own
    (shop.parent / "shop-two").mkdir()
    (shop.parent / "shop-two" / "a.png").write_bytes(b"secret")
    folder = Folder(shop)
    assert folder.read("in.png") == b"picture"
    for name in ("out.png", "way/secret.txt", "twin/a.png"):
        with pytest.raises(BadFile, match=f"{name} is a link that leads out"):
            folder.read(name)


def test_the_folder_itself_may_be_a_link(shop: Path) -> None:
    (shop.parent / "link").symlink_to(shop)
    assert Folder(shop.parent / "link").read("a.png") == b"picture"


def test_what_is_no_file_is_not_waited_for(shop: Path) -> None:
    os.mkfifo(shop / "pipe.png")
    (shop / "round.png").symlink_to(shop / "round.png")
    folder = Folder(shop)
    for name, reason in {
        "pipe.png": "is no file", "sub": "is no file", "lost.png": "lost.png is not in", "a.png/b.png": "can't be read",
        "round.png": "can't be read", "x" * 300: "can't be read",
    }.items():  # fmt: skip
        with pytest.raises(BadFile, match=reason):
            folder.read(name)


def test_a_huge_file_is_refused_unread(shop: Path) -> None:
    with (shop / "huge.png").open("wb") as file:
        file.truncate(10**12)  # holds no block
    with pytest.raises(BadFile, match=r"huge\.png has 953674 MB; at most 100 MB"):
        Folder(shop).read("huge.png")


def test_the_stamp_tells_of_a_change(shop: Path) -> None:
    folder = Folder(shop)
    before = folder.stamp("a.png")
    assert before and folder.stamp("a.png") == before and folder.stamp("lost.png") == folder.stamp("a\0b") == ""
    os.utime(shop / "a.png", ns=(1, 1))
    assert folder.stamp("a.png") not in ("", before)


def test_a_file_is_written_whole_or_not_at_all(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(shop)
    folder.write("deep/er/b.json", b"new")
    assert folder.get("deep/er/b.json") == b"new" and folder.has("deep/er/b.json")
    assert os.stat(shop / "deep/er/b.json").st_mode & 0o777 == 0o644

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        folder.write("a.png", b"half")
    assert sorted(path.name for path in shop.iterdir()) == ["a.png", "deep", "sub"]
    assert folder.get("a.png") == b"picture"


@pytest.mark.parametrize("root", ["memory://shop", "memory://shop/"])
def test_a_store(root: str) -> None:
    folder = Folder(root)
    folder.write("sub/a.png", b"picture")
    assert Folder(root).read("sub/a.png") == folder.get("sub/a.png") == b"picture"
    assert folder.has("sub/a.png") and not folder.has("b.png")
    assert folder.local is None and str(folder) == root
    first = Folder(root).stamp("sub/a.png")
    assert first and Folder(root).stamp("b.png") == ""
    folder.write("sub/a.png", b"another")
    assert Folder(root).stamp("sub/a.png") not in ("", first)
    for name in ("b.png", "sub"):
        with pytest.raises(BadFile, match=name):
            folder.read(name)


def test_a_huge_object_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder("memory://huge")
    folder.write("a.png", b"picture")
    monkeypatch.setattr(module, "MAX_BYTES", 3)
    with pytest.raises(BadFile, match=r"a\.png has"):
        folder.read("a.png")


def test_an_unknown_store_is_named() -> None:
    with pytest.raises(ComfyError, match=r"nowhere://shop can't be opened"):
        Folder("nowhere://shop")


def test_an_address_of_this_machine(shop: Path) -> None:
    assert Folder(f"file://{shop}").read("a.png") == b"picture"
