"""What goes wrong is said at the node where it goes wrong, by name, and the server goes on."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catalogue.client import ComfyClient
from catalogue.graph import find_node, with_inputs
from catalogue.protocol import Failed, Graph, Rejected

Inputs = dict[str, dict[str, Any]]


@pytest.fixture
def good(client: ComfyClient, graph: Graph, packshot: Path) -> Graph:
    return with_inputs(graph, {"Product photo": {"image": client.upload_image(packshot)}, "Sampler": {"steps": 1}})


@pytest.fixture(autouse=True)
def server_goes_on(client: ComfyClient, good: Graph) -> Iterator[None]:
    """After every failure the same server prepares a good photograph; test_main_graph, later, paints with it."""
    yield
    saving = {find_node(good, "Save picture"), find_node(good, "Save product mask")}
    assert client.run({node_id: node for node_id, node in good.items() if node_id not in saving}).outputs


def mask_of(client: ComfyClient, mask: np.ndarray, folder: Path) -> dict[str, Any]:
    path = folder / "mask.png"
    Image.fromarray(mask).convert("RGB").save(path)
    return {"class_type": "LoadImageMask", "inputs": {"image": client.upload_image(path), "channel": "red"}}


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


MASKS = {
    "empty": (np.zeros((420, 360), np.uint8), "product_mask is empty"),
    "inverted": (np.pad(np.zeros((280, 180), np.uint8), ((80, 60), (90, 90)), constant_values=255), "inverted"),
    "wrong size": (np.full((50, 100), 255, np.uint8), "product_mask is 100x50 pixels, the photo 360x420"),
}


@pytest.mark.parametrize("case", MASKS)
def test_mask(client: ComfyClient, good: Graph, tmp_path: Path, case: str) -> None:
    mask, message = MASKS[case]
    graph = with_inputs(good, {"Prepare product": {"product_mask": ["20", 0]}})
    graph["20"] = mask_of(client, mask, tmp_path)
    with pytest.raises(Failed, match=message) as failure:
        client.run(graph)
    assert failure.value.node_type == "PBG_PrepareProduct"


def write_one_pixel(path: Path) -> None:
    Image.new("RGB", (1, 1)).save(path)


def write_giant(path: Path) -> None:
    path.write_bytes(png_header(20_000, 20_000))


def write_truncated(path: Path) -> None:
    Image.effect_noise((300, 300), 80).convert("RGB").save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def write_animation(path: Path) -> None:
    frames = [Image.effect_noise((64, 64), 80) for _ in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def write_text(path: Path) -> None:
    path.write_text("not a picture")


PHOTOS = {
    "one-pixel.png": (write_one_pixel, "1x1"),
    "giant.png": (write_giant, "20000x20000|20,000|400000000"),
    "truncated.png": (write_truncated, "truncated"),
    "animation.gif": (write_animation, "frames"),
    "text.png": (write_text, "not an image"),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_photo(client: ComfyClient, good: Graph, tmp_path: Path, name: str) -> None:
    write, message = PHOTOS[name]
    write(tmp_path / name)
    graph = with_inputs(good, {"Product photo": {"image": client.upload_image(tmp_path / name)}})
    with pytest.raises(Failed, match=message) as failure:
        client.run(graph)
    assert failure.value.node_type == "PBG_LoadProductPhoto"
    assert name in str(failure.value)


def test_photo_that_is_not_there(client: ComfyClient, good: Graph) -> None:
    with pytest.raises(Rejected, match=r"Product photo .*lost\.png"):
        client.run(with_inputs(good, {"Product photo": {"image": "lost.png"}}))


VALUES: dict[str, tuple[Inputs, str]] = {
    "too large": ({"Prepare product": {"scale": 1.0}}, "larger than the canvas"),
    "preset": ({"Prepare product": {"preset": "Billboard"}}, r"(?s)preset.*Billboard.*Square 768x768"),
    "painter": ({"Prepare product": {"painter": "Rembrandt"}}, r"(?s)painter.*Rembrandt.*SD 1\.5"),
    "odd size": ({"Prepare product": {"preset": "Custom", "width": 771}}, "771"),
    "beyond limits": ({"Prepare product": {"scale": 7.5}}, "Prepare product.*7.5.*scale"),
}


@pytest.mark.parametrize("case", VALUES)
def test_value(client: ComfyClient, good: Graph, case: str) -> None:
    changes, message = VALUES[case]
    with pytest.raises((Rejected, Failed), match=message) as failure:
        client.run(with_inputs(good, changes))
    assert "Prepare product" in str(failure.value)


CHECKPOINTS = {
    "missing.safetensors": (Rejected, r"Checkpoint .*missing\.safetensors"),
    "foreign.safetensors": (Failed, r"(?s)Checkpoint .*Could not detect model type of.*foreign\.safetensors"),
    "truncated.safetensors": (Failed, r"Checkpoint .*truncated\.safetensors\): .*incomplete metadata"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint(client: ComfyClient, good: Graph, name: str) -> None:
    kind, message = CHECKPOINTS[name]
    with pytest.raises(kind, match=message):
        client.run(with_inputs(good, {"Checkpoint": {"ckpt_name": name}}))
