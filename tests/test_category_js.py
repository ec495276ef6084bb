"""The list of categories in the browser: the extension runs in Node beside a stand-in of the frontend's modules."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "web" / "js" / "category.js"

STAND_IN = """
import { app, api, node, loader, sleep } from "./scripts/stand_in.js";
await import("./extensions/pack/js/category.js");
app.extension.nodeCreated(loader);
app.extension.nodeCreated(node);
const report = {};
const state = () => ({ widgets: node.widgets.map((w) => [w.name, w.value, w.serialize !== false]),
                       names: node.widgets.find((w) => w.name === "known categories").options.values });
await sleep();
report.unconnected = state();
node.origin = { type: "Reroute", getInputNode: () => loader };
node.onConnectionsChange();
await sleep();
report.connected = state();
node.widgets[0].value = "red tea cup";
node.widgets[0].callback("red tea cup");
await sleep();
report.free = state();
const list = node.widgets.find((w) => w.name === "known categories");
list.value = "wine";
list.callback("wine");
await sleep();
report.chosen = state();
loader.widgets[0].value = "lost.safetensors";
loader.widgets[0].callback("lost.safetensors");
await sleep();
report.lost = state();
node.onExecuted({ text: ["mug (alias 'cup' for 'cup')"] });
report.executed = state();
report.asked = api.asked;
report.kept = node.kept;
console.log(JSON.stringify(report));
"""

MODULES = """
export const sleep = () => new Promise((resolve) => setTimeout(resolve, 20));
function made(comfyClass, widgets) {
  return {
    comfyClass, widgets, inputs: [{ name: "clip" }, { name: "weights" }], origin: null, kept: [],
    addWidget(type, name, value, callback, options) {
      const widget = { type, name, value, callback, options };
      this.widgets.push(widget);
      return widget;
    },
    getInputNode(slot) { return slot === 1 ? this.origin : null; },
    onConnectionsChange() { this.kept.push("connections"); },
  };
}
const text = { name: "category", value: "", callback: () => node.kept.push("category") };
export const node = made("PBG_CategoryConditioning", [text, { name: "text", value: "{identifier}" }]);
export const loader = made("PBG_LoadCategoryWeights", [{ name: "weights_name", value: "good.safetensors" }]);
export const app = { graph: { nodes: [node, loader] }, registerExtension(extension) { this.extension = extension; } };
export const api = {
  asked: [],
  async fetchApi(route) {
    this.asked.push(route);
    const query = new URL(route, "http://x").searchParams;
    const ok = query.get("weights") === "good.safetensors";
    const chosen = { "red tea cup": "mug (head noun)", wine: "wine" }[query.get("near")] ?? null;
    return { ok, json: async () => (ok ? { count: 2, names: ["mug", "wine"], chosen } : { error: "no such file" }) };
  },
};
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    folder = tmp_path_factory.mktemp("browser")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "scripts").mkdir()
    (folder / "scripts" / "stand_in.js").write_text(MODULES)
    for name in ("app", "api"):
        (folder / "scripts" / f"{name}.js").write_text(f'export {{ {name} }} from "./stand_in.js";')
    (folder / "extensions" / "pack" / "js").mkdir(parents=True)
    shutil.copy(SCRIPT, folder / "extensions" / "pack" / "js")
    (folder / "main.js").write_text(STAND_IN)
    done = subprocess.run([node, "main.js"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def values(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value, _ in state["widgets"]}


def test_the_list_follows_the_connected_file(report: dict[str, Any]) -> None:
    assert report["unconnected"]["names"] == []
    assert report["connected"]["names"] == ["mug", "wine"], "through a reroute"
    assert report["lost"]["names"] == [] and values(report["lost"])["chosen"] == "no such file"


def test_free_text_shows_what_it_means_and_a_choice_becomes_the_text(report: dict[str, Any]) -> None:
    assert values(report["free"])["chosen"] == "mug (head noun)"
    assert values(report["free"])["known categories"] == ""
    after = values(report["chosen"])
    assert after["category"] == after["chosen"] == after["known categories"] == "wine"
    assert values(report["executed"])["chosen"] == "mug (alias 'cup' for 'cup')"


def test_nothing_is_saved_that_the_node_does_not_know(report: dict[str, Any]) -> None:
    """Graphs store widget values by position: ours come last and aren't stored."""
    assert [(name, saved) for name, _, saved in report["free"]["widgets"]] == [
        ("category", True),
        ("text", True),
        ("known categories", False),
        ("chosen", False),
    ]


def test_what_others_hung_on_the_node_still_runs(report: dict[str, Any]) -> None:
    assert "connections" in report["kept"] and "category" in report["kept"]
    assert all(route.startswith("/product_background/categories?") for route in report["asked"])
