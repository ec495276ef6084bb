"""Malformed catalogues, pictures and workflows for test_fuzz.py, by hand or by cutting and flipping."""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow
import pyarrow.parquet
from PIL import Image

from tests.catalogue.standin_graph import example_graph

NAN, INFINITY = float("nan"), float("inf")

GOOD_IDS = [
    "a/b", "a\\b", "../../etc/passwd", "/etc/passwd", "C:\\x", "..", ".", "~", "CON", "nul.png", "%00", "a%2fb", "a'b",
    "a`b",
    "'; DROP TABLE jobs; --", "<script>alert(1)</script>", "[red]x[/red]", "{id}", "{{x}}", "${HOME}", "$(id)", "-rf",
    "--out",
    "*", "?", "a|b", "a,b", 'a"b', "#", "0", "1e5", "007", "null", "NaN", "True", "=1+1", "👩‍👩‍👧", "🏳️‍🌈", "مرحبا",
    "שלום", "靴", "e\u0301", "é",
    "x" * 200, "靴" * 200, "a b", "a\u00a0b", "ﬁ", "İ", "\u200b.",
]  # fmt: skip

BAD_CELLS: list[tuple[str, Any]] = [
    *(("id", text) for text in ("", "   ", "x" * 201, "x" * 500, "x" * 10**5, "a\tb", "a\0b", "a\x1b[31mb", "a\x7fb",
    "a\u2028b")),
    *(("id", text) for text in ("a\u202eb", "a\u2066b", "\ufffd", "a\nb", "\ud800", [], ["a"], {}, {"a": 1}, True,
    None, NAN)),
    *(("image", path) for path in ("", "..", ".", "/", "../a.png", "a/../../b.png", "..\\a.png", "a\\..\\..\\b",
    "/etc/passwd")),
    *(("image", path) for path in ("\\\\host\\a", "//host/a", "C:\\a.png", "c:a.png", "file:///etc/passwd",
    "http://a/b.png")),
    *(("image", path) for path in ("HTTPS://a/b", "s3://b/k", "data://x", "x" * 1001, "a\0.png", "a\x9b31m.png",
    "a\n.png", 5.5,
    ["a.png"], True)),
    *(("mask", path) for path in ("../m.png", "ftp://a/b", {"a": 1})),
    *(("reference", path) for path in ("/r.png", "a\tb.png")),
    *(("category", text) for text in ("", "c" * 201, "a\rb", None, ["x"], INFINITY)),
    *(("seed", seed) for seed in (-1, 2**64, 10**300, "x", "0x10", "1e3", "1.5", 1.5, "\uff19" * 30, "--1", NAN, "nan",
    True, [])),
    *(("variants", number) for number in (0, -3, 1001, 10**12, "two", "1;2", 0.5)),
    *(("width", number) for number in (0, 15, 16385, -512, "wide", "512px", "5 12", INFINITY, {"a": 1})),
    *(("height", number) for number in (1, 10**9, "1,5", "\u0663x")), ("prompt", "p" * 10_001), ("prompt", "a\0b"),
    ("prompt", {}),
    *(("steps", value) for value in ([1], {"a": 1}, NAN, INFINITY, "\ud800", "a\0b", "a\ufffdb")),
]  # fmt: skip
"""Column and cell of a row that can't be run."""

UNFIT_CELLS: list[tuple[str, Any]] = [
    *(("steps", value) for value in ("many", "0", "101", "9" * 50, "4.5", "nan", "1e2", "-1", "0x4", "4 4")),
    *(("cfg", value) for value in ("nan", "inf", "-inf", "1e999", "9" * 400, "seven", "-0.1", "1,5", "100.1")),
    *(("sampler", value) for value in ("brush", "EULER", "euler ancestral", "5")), ("tiled", "maybe"), ("tiled", "2"),
    ("size", "513"), ("size", "512.5"),
]  # fmt: skip
"""Cells that a row may hold, and that don't fit the input they are bound to."""


def good_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"good{n}",
            "image": "good.png",
            "category": "shoe",
            "prompt": 'a "shoe", red' if n % 3 else "",
            "seed": n,
        }
        for n in range(count)
    ]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    content = io.BytesIO()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    pyarrow.parquet.write_table(pyarrow.table(columns), content, row_group_size=8)
    return content.getvalue()


def mutations(content: bytes, cuts: int, flips: int, seed: int) -> Iterator[bytes]:
    """Files cut short, and files with a few bits turned, a stretch lost, or bytes put in."""
    chance = random.Random(seed)
    for number in range(cuts):
        yield content[: len(content) * number // cuts]
    for number in range(flips):
        broken = bytearray(content)
        for _ in range(1 + number % 4):
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        at = chance.randrange(len(broken))
        if number % 5 == 3:
            del broken[at : at + chance.randrange(60)]
        if number % 5 == 4:
            broken[at:at] = chance.choice(
                [b"\0", b'"', b"\r", b"\n\n", b"\xff\xfe", b"\x1a", b"[" * 900, b"\xed\xa0\x80"]
            )
        yield bytes(broken)


def catalogue_files(csv: bytes) -> Iterator[tuple[str, bytes]]:
    """Files that are wholly or partly no catalogue."""
    rows = good_rows(20)
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    table = parquet(rows)
    for number, content in enumerate(mutations(csv, 12, 36, 1)):
        yield f"{number}.csv", content
    for number, content in enumerate(mutations(lines, 12, 36, 2)):
        yield f"{number}.jsonl", content
    for number, content in enumerate(mutations(table, 12, 36, 3)):
        yield f"{number}.parquet", content
    text = csv.decode()
    for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-7", "cp037"):
        yield f"{encoding}.csv", text.encode(encoding)
        yield f"{encoding}.jsonl", lines.decode().encode(encoding)
    yield "latin.csv", text.replace("shoe", "sandália").encode("latin-1")
    yield "packed.csv", gzip.compress(csv)
    yield "packed.jsonl", gzip.compress(lines)
    for name, content in {
        "semicolons": csv.replace(b",", b";"), "tabs": csv.replace(b",", b"\t"), "quotes": csv.replace(b'"', b"'\""),
        "quote": csv + b'"', "headless": csv.partition(b"\n")[2], "twice": csv.replace(b"prompt", b"id"),
        "zeros": bytes(9999),
        "noise": random.Random(5).randbytes(9999), "blank": b"\n" * 999, "empty": b"", "mark": b"\xef\xbb\xbf",
        "row": b"id",
        "html": b"<!doctype html><table>", "wide": b"id,image,category" + b",x" * 999, "commas": b"," * 99_999,
    }.items():  # fmt: skip
        yield f"{name}.csv", content
    for name, content in {
        "array": b"[" + lines.replace(b"\n", b",\n") + b"]", "pretty": json.dumps(rows, indent=2).encode(),
        "deep": b"[" * 99_999,
        "endless": b'{"id": "' + b"x" * 10**6, "digits": b'{"id": ' + b"9" * 9999 + b"}",
        "nan": b"NaN\nInfinity\n-Infinity",
        "inside": b'{"id":"a","image":"good.png","category":"c","x":' + b"[" * 700 + b"]" * 700 + b"}",
        "keys": b'{"id":"a","id":"b","image":"good.png","category":"c","\\ud800":1}', "numbers": b"1\n2\n3",
        "text": b'"a"\n' * 9,
    }.items():  # fmt: skip
        yield f"{name}.jsonl", content
    yield "text.parquet", csv
    yield "columns.parquet", parquet([{"sku": 1}])


def saved(kind: str, size: tuple[int, int] = (60, 40), **options: Any) -> bytes:
    content = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(content, kind, **options)
    return content.getvalue()


def claims(width: int, height: int, kind: str = "PNG") -> bytes:
    """A small file whose header claims a size."""
    if kind == "BMP":
        return saved("BMP")[:18] + struct.pack("<ii", width, height) + saved("BMP")[26:]

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def bad_pictures() -> Iterator[tuple[str, bytes]]:
    """Name and content of files that can't be sent to a server."""
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        content = saved(kind)
        for share in (1, 10, 30, 60, 90):
            yield f"cut{share}.{kind.lower()}", content[: len(content) * share // 100]
    animation = {"save_all": True, "append_images": [Image.new("RGB", (60, 40), n) for n in ("red", "blue")]}
    yield from {
        "empty.png": b"", "zeros.png": bytes(4096), "text.png": b"not a picture" * 9, "svg.png": b"<svg xmlns='x'/>",
        "gif.png": saved("GIF"), "moving.gif": saved("GIF", **animation), "moving.png": saved("PNG", **animation),
        "moving.webp": saved("WEBP", **animation), "pdf.png": b"%PDF-1.7\n%\xe2\xe3\n" * 9, "icon.png": saved("ICO"),
        "eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        "bomb.png": claims(50_000, 50_000),
        "large.png": claims(10_001, 10_000), "larger.bmp": claims(12_000, 12_000, "BMP"), "nothing.png": claims(0, 0),
        "negative.bmp": claims(-5, -5, "BMP"), "endless.png": claims(2**31 - 1, 2**31 - 1),
        "page.jpg": b"<!doctype html>",
        "noise.jpg": random.Random(6).randbytes(5000), "head.jpg": b"\xff\xd8\xff\xe0" + bytes(99),
        "psd.png": b"8BPS" + bytes(99),
        "heic.jpg": b"\0\0\0\x18ftypheic" + bytes(99), "zip.png": b"PK\3\4" + bytes(99),
        "script.png": b"#!/bin/sh\nid\n",
    }.items()  # fmt: skip


def flipped_pictures() -> Iterator[tuple[str, bytes]]:
    """Pictures with a few bits turned: broken or not, as it happens."""
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
        for number, content in enumerate(mutations(saved(kind), 0, 8, 4)):
            yield f"flipped{number}.{kind.lower()}", content


def _changed(change: Callable[[Any], object]) -> str:
    graph = copy.deepcopy(example_graph())
    change(graph)
    return json.dumps(graph)


def bad_workflows() -> Iterator[str]:
    """Texts of files that are no workflow, or one that no server would take."""
    yield from (
        "", " ", "\0", "{", "[", "{}", "[]", "null", "7", '"text"', "NaN", "<html>", "[" * 99_999, '{"a":' * 5000,
        "[{}]", '{"1": null}',
        '{"1": []}', '{"1": {}}', '{"1": {"inputs": {}}}', '{"1": {"class_type": "Paint"}}', '{"prompt": {"1": {}}}',
        '{"1": {"class_type": null, "inputs": {}}}', '{"1": {"class_type": "Paint", "inputs": null}}',
        '{"nodes": [], "links": []}', '{"nodes": {}, "links": {}}', '{"nodes": [1], "links": [2]}',
        '{"nodes": null, "links": []}',
        '{"nodes": [{"id": 1}], "links": []}', '{"nodes": [{"id": "x", "type": "Paint", "mode": 0}], "links": []}',
        '{"nodes": [{"id": 1, "type": "Paint", "mode": 0, "inputs": [{"name": "a", "link": 9}]}], "links": [[1]]}',
        '{"nodes": [{"id": 1, "type": "Rembrandt", "mode": 0, "inputs": []}], "links": []}',
        '{"nodes": [{"id": 1, "type": "Paint", "mode": 4, "inputs": []}], "links": []}',
        '{"nodes": [{"id": 1, "type": "Paint", "mode": 0, "inputs": [], "widgets_values": [1]}], "links": []}',
    )  # fmt: skip
    for change in (
        lambda g: g["4"].update(class_type="Rembrandt"), lambda g: g["4"].update(class_type=""), lambda g: g.pop("1"),
        lambda g: g["4"]["inputs"].update(image=["99", 0]), lambda g: g["4"]["inputs"].update(image=[]),
        lambda g: g.pop("5"),
        lambda g: g["4"]["inputs"].update(image=[1, 0]), lambda g: g["4"]["inputs"].update(image=["1", 0, 0]),
        lambda g: g["4"]["inputs"].update(image=["4", 0]), lambda g: g["4"]["inputs"].update(image=["5", 0]),
        lambda g: g["4"]["inputs"].update(image=[["1", 0]]),
        lambda g: g["2"]["inputs"].update(ckpt_name="x.safetensors"),
        lambda g: g["1"].update(_meta={"title": "Prompt"}), lambda g: g["1"].update(_meta=7), lambda g: g.pop("4"),
        lambda g: g["1"].update(_meta={"title": ["Photo"]}), lambda g: g["1"].update(_meta={"title": "x" * 10**5}),
        lambda g: g.update(extra={}), lambda g: g["3"].update(inputs=[]),
        lambda g: g["5"].update(class_type="LoadImage"),
        lambda g: g["1"].update(class_type="SaveImage"), lambda g: g.update({"7": copy.deepcopy(g["5"])}),
    ):  # fmt: skip
        yield _changed(change)
