"""One HTML page over a run: thumbnails, scores, search. And the same as a table, results.csv."""

from __future__ import annotations

import csv
import html
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from .folder import Folder
from .ledger import BAD, DONE, FAILED, REFUSED, STATES, Entry, Ledger
from .protocol import ComfyError

REPORT, TABLE, THUMBNAILS = "report.html", "results.csv", "thumbnails"
SIDE = 256


def write_table(ledger: Ledger, out: Folder) -> None:
    """results.csv: a line a job, with where its files are or why there are none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["id", "variant", "state", "picture", "score", "seed", "seconds", "server", "error"])
    for entry in ledger.entries(*STATES):
        job = entry.job
        writer.writerow(
            [job.product, job.variant, entry.state, _picture(entry), _text(entry.score), entry.seed,
             _text(entry.seconds), entry.server or "", entry.error or ""]
        )  # fmt: skip
    out.write(TABLE, text.getvalue().encode())


def write_report(ledger: Ledger, out: Folder, on_thumbnail: Callable[[], object] = lambda: None) -> Path:
    """The page, beside the pictures that it shows; thumbnails of earlier reports are kept. Returns its path."""
    if out.local is None:
        raise ComfyError(f"The report needs the pictures on this machine; {out} is a store. Copy them, then call it.")
    folder = out.local / THUMBNAILS
    folder.mkdir(exist_ok=True)
    rows, failures = [], []
    for entry in ledger.entries(DONE):
        rows.append(_row(entry, _thumbnail(out.local, folder, entry)))
        on_thumbnail()
    for entry in ledger.entries(FAILED, REFUSED, BAD):
        failures.append([entry.job.line, entry.job.product, entry.state, entry.error or ""])
    page = _PAGE.replace("__COUNT__", html.escape(_headline(ledger.counts())))
    # "<" can't open a tag inside the script element then, whatever a row says.
    data = json.dumps({"rows": rows, "failures": failures}, ensure_ascii=False).replace("<", "\\u003c")
    out.write(REPORT, page.replace("__DATA__", data).encode())
    return out.local / REPORT


def _headline(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in counts.items() if number)


def _row(entry: Entry, thumbnail: str) -> list[object]:
    job = entry.job
    return [job.product, job.variant, job.category, _picture(entry), thumbnail, entry.score, entry.seed,
            entry.seconds]  # fmt: skip


def _picture(entry: Entry) -> str:
    """Where the picture is: the output of that name, or else the first one."""
    return entry.files.get("picture") or next(iter(entry.files.values()), "")


def _thumbnail(root: Path, folder: Path, entry: Entry) -> str:
    picture = root / _picture(entry)
    target = folder / f"{picture.stem}.jpg"
    if not target.is_file():
        try:
            with Image.open(picture) as image:
                small = image.convert("RGB")
                small.thumbnail((SIDE, SIDE))
                temporary = target.with_suffix(".part")
                small.save(temporary, "JPEG", quality=85)
                os.replace(temporary, target)
        except Exception:  # Pillow's readers raise whatever broken bytes lead them to
            return ""  # it was moved away or overwritten; the row still tells where it was
    return f"{THUMBNAILS}/{target.name}"


def _text(number: float | None) -> str:
    return "" if number is None else f"{number:.4g}"


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Catalogue</title>
<meta name="viewport" content="width=device-width">
<style>
body{font:15px/1.4 system-ui,sans-serif;margin:0;background:#f4f4f2;color:#222}
header{position:sticky;top:0;background:#fff;padding:12px 20px;border-bottom:1px solid #ddd;z-index:1}
input,select,button{font:inherit;padding:5px 8px}h1{font-size:18px;margin:0 0 8px}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:14px;padding:20px}
figure{margin:0;background:#fff;border-radius:6px;overflow:hidden;box-shadow:0 1px 3px #0002}
img{width:100%;aspect-ratio:1;object-fit:contain;display:block;background:#eee}
figcaption{padding:8px 10px;overflow-wrap:anywhere}small{color:#666}
table{border-collapse:collapse;margin:20px}td,th{text-align:left;padding:4px 10px;border-bottom:1px solid #ddd}
</style>
<header><h1>__COUNT__</h1>
<input id="find" type="search" placeholder="id or category" size="30">
<select id="sort"><option value="">as in the catalogue</option><option value="low">lowest score first</option>
<option value="high">highest score first</option></select> <span id="found"></span></header>
<main id="grid"></main><p style="text-align:center"><button id="more">more</button></p><div id="failures"></div>
<script id="data" type="application/json">__DATA__</script>
<script>
const {rows, failures} = JSON.parse(document.getElementById("data").textContent);
const [grid, find, sort, more] = ["grid", "find", "sort", "more"].map(id => document.getElementById(id));
let shown = [], next = 0;
function element(name, text, inside) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (inside) inside.append(made);
  return made;
}
function page() {
  for (const [id, variant, category, file, thumbnail, score, seed, seconds] of shown.slice(next, next += 200)) {
    const figure = element("figure", undefined, grid), link = element("a", undefined, figure);
    link.href = file;
    const image = element("img", undefined, link);
    image.loading = "lazy"; image.src = thumbnail; image.alt = id;
    const caption = element("figcaption", id + (variant ? " (" + (variant + 1) + ")" : ""), figure);
    element("br", undefined, caption);
    const facts = [category, score === null ? "" : "score " + score.toFixed(3), "seed " + seed];
    element("small", facts.filter(Boolean).join(", "), caption);
  }
  more.hidden = next >= shown.length;
}
function draw() {
  const wanted = find.value.toLowerCase();
  shown = rows.filter(row => (row[0] + " " + row[2]).toLowerCase().includes(wanted));
  if (sort.value) shown = [...shown].sort((a, b) => (sort.value === "low" ? 1 : -1) * ((a[5] ?? 0) - (b[5] ?? 0)));
  document.getElementById("found").textContent = shown.length + " pictures";
  grid.textContent = ""; next = 0; page();
}
find.oninput = sort.onchange = draw; more.onclick = page; draw();
if (failures.length) {
  const table = element("table", undefined, document.getElementById("failures"));
  const row = (cells, kind) => { const r = element("tr", undefined, table); cells.forEach(c => element(kind, c, r)); };
  row(["line", "id", "state", "why there is no picture"], "th");
  failures.forEach(cells => row(cells, "td"));
}
</script></html>
"""
