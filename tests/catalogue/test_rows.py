"""Catalogues as CSV, JSON Lines and Parquet: every row comes out, or what is wrong with it and on which line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from catalogue.folder import Folder
from catalogue.protocol import ComfyError
from catalogue.rows import Problem, Row, read_columns, read_rows

HEAD = "id,image,category"


def read(folder: Path, name: str, content: str | bytes) -> tuple[dict[int, Row], dict[int, str]]:
    """Good rows and reasons, by line."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    good, bad = {}, {}
    for found in read_rows(Folder(folder), name):
        if isinstance(found, Problem):
            assert found.line not in bad and found.line not in good, "a line is spoken of twice"
            bad[found.line] = str(found)
        else:
            good[found[0]] = found[1]
    return good, bad


def write_parquet(path: Path, columns: dict[str, Any], **options: Any) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), path, **options)


def test_the_same_catalogue_in_three_formats(tmp_path: Path) -> None:
    rows = [
        {"id": "7", "image": "a b.png", "category": "shoe", "seed": 2**64 - 1, "width": 512, "size": "XL"},
        {"id": "größe", "image": "sub/ü.jpg", "category": "bag", "prompt": 'a "red", bag\non two lines', "variants": 3},
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))

    def cell(value: Any) -> str:
        return '"' + str(value).replace('"', '""') + '"' if value is not None else ""

    csv = "\n".join([",".join(columns), *(",".join(cell(row.get(name)) for name in columns) for row in rows)])
    in_csv, bad = read(tmp_path, "a.csv", csv)
    assert not bad and list(in_csv) == [2, 3]
    in_json, bad = read(tmp_path, "a.jsonl", "\n".join(json.dumps(row) for row in rows))
    assert not bad and list(in_json) == [1, 2]
    table = {name: [row.get(name) for row in rows] for name in columns}
    table["seed"] = pyarrow.array(table["seed"], pyarrow.uint64())
    write_parquet(tmp_path / "b.parquet", table)
    in_parquet, bad = read(tmp_path, "a.parquet", (tmp_path / "b.parquet").read_bytes())
    assert not bad and list(in_parquet) == [1, 2]
    for found in (in_json, in_csv, in_parquet):
        assert [row.values() for row in found.values()] == [{"variants": 1, **row} for row in rows]
    assert read_columns(Folder(tmp_path), "a.csv") == set(columns) == read_columns(Folder(tmp_path), "a.parquet")
    assert read_columns(Folder(tmp_path), "a.jsonl") is None


BAD_CELLS = {
    "empty id": ({"id": ""}, "id: is empty or missing"),
    "blank id": ({"id": "  "}, "id: is empty or missing"),
    "long id": ({"id": "x" * 201}, "id: String should have at most 200 characters"),
    "control character": ({"id": "a\tb"}, "id: holds control characters"),
    "right-to-left override": ({"category": "shoe\u202egnp"}, "category: holds control characters"),
    "missing image": ({"image": None}, "image: is empty or missing"),
    "upwards": ({"image": "../a.png"}, "image: '../a.png' leaves the catalogue's folder"),
    "absolute": ({"mask": "/etc/passwd"}, "mask: '/etc/passwd' is an absolute path"),
    "drive": ({"image": r"C:\a.png"}, "is an absolute path"),
    "share": ({"image": r"\\host\a.png"}, "is an absolute path"),
    "upwards, backslashes": ({"image": r"sub\..\..\a.png"}, "leaves the catalogue's folder"),
    "address": ({"reference": "https://example.org/a.png"}, "files are never fetched from the network"),
    "file address": ({"image": "file:///etc/passwd"}, "files are never fetched from the network"),
    "no name": ({"image": "./"}, "names no file"),
    "long path": ({"image": "x" * 1001}, "image: String should have at most 1000 characters"),
    "negative seed": ({"seed": -1}, "seed: Input should be greater than or equal to 0, found '-1'"),
    "large seed": ({"seed": 2**64}, "seed: Input should be less than or equal to 18446744073709551615"),
    "half a seed": ({"seed": 1.5}, "seed: "),
    "seed in words": ({"seed": "seven"}, "seed: Input should be a valid integer"),
    "no variants": ({"variants": 0}, "variants: Input should be greater than or equal to 1"),
    "many variants": ({"variants": 10**6}, "variants: Input should be less than or equal to 1000"),
    "narrow": ({"width": 8}, "width: Input should be greater than or equal to 16"),
    "long prompt": ({"prompt": "x" * 10_001}, "prompt: String should have at most 10000 characters"),
    "list": ({"size": ["XL"]}, "column 'size' holds a list: text or a finite number is accepted"),
    "object": ({"size": {"a": 1}}, "column 'size' holds"),
    "not a number": ({"size": float("nan")}, "column 'size' holds 'nan'"),
    "prompt, not a number": ({"prompt": float("nan")}, "column 'prompt' holds 'nan'"),
    "id, infinite": ({"id": float("inf")}, "column 'id' holds 'inf'"),
    "half a letter": ({"size": "\ud800"}, "column 'size'"),
    "half a letter in the id": ({"id": "\ud800"}, "id: "),
    "NUL": ({"prompt": "a\0b"}, "holds a NUL character"),
    "not UTF-8": ({"prompt": "caf\ufffd"}, "is not UTF-8"),
    "yes or no": ({"id": True}, "id: Input should be a valid string, found 'True'"),
}


@pytest.mark.parametrize("case", BAD_CELLS)
def test_a_bad_cell_is_named_and_the_next_row_is_read(tmp_path: Path, case: str) -> None:
    change, reason = BAD_CELLS[case]
    row = {"id": "a", "image": "a.png", "category": "shoe"}
    good, bad = read(tmp_path, "a.jsonl", "\n".join(map(json.dumps, [row | change, row | {"id": "b"}])))
    assert list(good) == [2] and list(bad) == [1]
    assert bad[1].startswith("line 1") and reason in bad[1]
    bad[1].encode()  # it can be printed


def test_all_faults_of_a_row_are_said_at_once(tmp_path: Path) -> None:
    _, bad = read(tmp_path, "a.csv", f"{HEAD},seed\nx,../a.png,,seven\n")
    assert bad[2].startswith("line 2 (id 'x'): image: '../a.png' leaves")
    assert "category: is empty or missing" in bad[2] and "seed: Input should be a valid integer" in bad[2]


@pytest.mark.parametrize(
    "letters",
    ["👩‍👩‍👧", "کتاب\u200cخانه", "Home\u00a0decor", "سجادة", "e\u0301", "靴"],  # noqa: RUF001
)
def test_letters_of_the_world(tmp_path: Path, letters: str) -> None:
    """Joined emoji, Persian with its joiner, a spreadsheet's hard space."""
    good, bad = read(tmp_path, "a.csv", f"{HEAD}\n{letters},{letters}.png,{letters}\n")
    assert not bad and (good[2].id, good[2].category) == (letters, letters)


def test_spaces_and_empty_cells(tmp_path: Path) -> None:
    good, bad = read(tmp_path, "a.csv", "\ufeff id , image ,category,seed,width,prompt\n x , a.png , shoe , 7 , ,  \n")
    assert not bad
    assert good[2].values() == {"id": "x", "image": "a.png", "category": "shoe", "seed": 7, "variants": 1}


def test_an_id_may_come_once(tmp_path: Path) -> None:
    good, bad = read(tmp_path, "a.csv", f"{HEAD}\nx,a.png,shoe\nx,b.png,shoe\n x,c.png,shoe\n")
    assert list(good) == [2]
    assert list(bad.values()) == [f"line {line} (id 'x'): this id is already on line 2" for line in (3, 4)]


def test_ragged_rows(tmp_path: Path) -> None:
    good, bad = read(tmp_path, "a.csv", f"{HEAD}\na,a.png\n\nb,b.png,shoe,more\nc,c.png,shoe\n")
    assert list(good) == [5]
    assert bad[2] == "line 2: has 2 cells where the first line has 3 columns"
    assert bad[4] == "line 4: has 4 cells where the first line has 3 columns"


def test_an_unclosed_quote_costs_its_own_row_only(tmp_path: Path) -> None:
    many = "\n".join(f"p{number},{number}.png,shoe" for number in range(5000))
    for tail in ("c,c.png,shoe", 'c,"c.png",shoe', many):
        good, bad = read(tmp_path, "a.csv", f'{HEAD}\na,"a.png,shoe\nb,b.png,shoe\n{tail}\n')
        assert list(bad) == [2] and "can't be read as CSV" in bad[2]
        assert list(good) == list(range(3, 4 + len(tail.splitlines())))


def test_a_line_is_where_a_row_of_several_lines_begins(tmp_path: Path) -> None:
    good, bad = read(tmp_path, "a.csv", f'{HEAD},prompt\r\na,a.png,shoe,"x\r\ny"\r\nb,../b.png,shoe,\r\n')
    assert list(good) == [2] and list(bad) == [4]


NO_CATALOGUE = {
    "empty": ("a.csv", b"", "lacks the column id and image and category. Its columns are: nothing"),
    "other columns": ("a.csv", b"sku,photo\n1,a.png\n", "Its columns are: sku, photo"),
    "semicolons": ("a.csv", b"id;image;category\n1;a.png;shoe\n", "';'"),
    "column twice": ("a.csv", b"id,image,category,id\n", "has the column id twice"),
    "UTF-16": ("a.csv", f"{HEAD}\nx,a.png,shoe\n".encode("utf-16"), "is not UTF-8"),
    "a picture": ("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not UTF-8"),
    "endless header": ("a.csv", b'"' + b"x" * 200_000, "a.csv can't be read as CSV"),
    "no Parquet": ("a.parquet", f"{HEAD}\n".encode(), "a.parquet can't be read as Parquet"),
    "a spreadsheet": ("a.xlsx", b"PK\3\4", "a.xlsx is no catalogue"),
    "no ending": ("products", f"{HEAD}\n".encode(), "products is no catalogue"),
}


@pytest.mark.parametrize("case", NO_CATALOGUE)
def test_what_is_no_catalogue_is_refused_as_a_whole(tmp_path: Path, case: str) -> None:
    name, content, reason = NO_CATALOGUE[case]
    with pytest.raises(ComfyError) as refused:
        read(tmp_path, name, content)
    assert name in str(refused.value) and reason in str(refused.value) and str(refused.value).isprintable()


def test_a_catalogue_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("lost.csv", "folder.csv", "x" * 400 + ".csv"):
        with pytest.raises(ComfyError, match="There is no catalogue"):
            list(read_rows(Folder(tmp_path), name))


def test_json_lines_that_are_none(tmp_path: Path) -> None:
    row = json.dumps({"id": "a", "image": "a.png", "category": "shoe"})
    deep = '{"id": "b", "image": "b.png", "category": "shoe", "x": ' + "[" * 900 + "]" * 900 + "}"
    lines = ["nothing", "[1, 2]", '"text"', "null", "{", row, "", '{"id": ' + "9" * 5000 + "}", "[" * 10**5, deep]
    good, bad = read(tmp_path, "a.ndjson", "\n".join(lines))
    assert list(good) == [6]
    for line, reason in (
        (1, "is no JSON ("), (2, "holds list where"), (3, "holds str where"), (4, "holds NoneType where"),
        (5, "is no JSON ("), (8, "is no JSON ("), (9, "is no JSON ("), (10, "column 'x' holds a list"),
    ):  # fmt: skip
        assert bad.pop(line).partition(": ")[2].startswith(reason)
    assert not bad
    _, bad = read(tmp_path, "b.jsonl", row.encode("utf-16"))
    assert bad == {1: "line 1: is not UTF-8: save the catalogue in that encoding"}


def test_parquet_cells_that_python_cannot_hold(tmp_path: Path) -> None:
    """One such cell must not take the other rows of its batch with it."""
    names = pyarrow.array([b"a", b"caf\xe9", b"c"], pyarrow.binary()).cast(pyarrow.string(), safe=False)
    stamps = pyarrow.array([1, 2, 3], pyarrow.int64()).cast(pyarrow.timestamp("ns"))
    images, shoe = ["a.png", "b.png", "c.png"], ["shoe"] * 3
    for column, broken in (("id", [2]), ("made", [1, 2, 3])):
        ids = names if column == "id" else ["a", "b", "c"]
        more = {"made": stamps} if column == "made" else {}
        write_parquet(tmp_path / "b.parquet", {"id": ids, "image": images, "category": shoe, **more})
        good, bad = read(tmp_path, "a.parquet", (tmp_path / "b.parquet").read_bytes())
        assert list(bad) == broken and list(good) == [line for line in (1, 2, 3) if line not in broken]


def test_a_broken_part_of_a_parquet_file(tmp_path: Path) -> None:
    count = 30
    table = {
        "id": [f"p{n}" for n in range(count)],
        "image": [f"{n}.png" for n in range(count)],
        "category": ["s"] * count,
    }
    write_parquet(tmp_path / "b.parquet", table, row_group_size=10, use_dictionary=False, compression="gzip")
    content = bytearray((tmp_path / "b.parquet").read_bytes())
    group = pyarrow.parquet.ParquetFile(tmp_path / "b.parquet").metadata.row_group(1).column(0)
    start = group.data_page_offset + group.total_compressed_size // 2
    content[start : start + 20] = b"\xff" * 20
    good, bad = read(tmp_path, "a.parquet", bytes(content))
    assert list(bad) == [11] and "rows 11 to 20" in bad[11]
    assert list(good) == [*range(1, 11), *range(21, 31)]
