"""Node ids, inputs, their order and defaults, and outputs are a promise to saved graphs: they may only grow.

After adding to a node, write the new promise down with `UPDATE_SNAPSHOT=1 make test`; that, too, refuses to take back.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

SNAPSHOT = Path(__file__).resolve().parent.parent / "snapshots" / "nodes.json"


def describe(info: dict[str, Any]) -> dict[str, Any]:
    inputs = []
    for section in ("required", "optional"):
        for name in info["input_order"].get(section, []):
            kind, *rest = info["input"][section][name]
            options = rest[0] if rest else {}
            entry = {"name": name, "type": kind, "section": section, "default": options.get("default")}
            # What lies in the user's input folder is no promise of ours.
            if kind == "COMBO" and not options.get("image_upload"):
                entry["options"] = options["options"]
            inputs.append(entry)
    outputs = [list(pair) for pair in zip(info["output_name"], info["output"], strict=True)]
    return {"inputs": inputs, "outputs": outputs}


def broken_promises(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    broken = [f"{node_id} is gone" for node_id in before.keys() - now.keys()]
    for node_id in before.keys() & now.keys():
        old, new = before[node_id], now[node_id]
        if new["outputs"][: len(old["outputs"])] != old["outputs"]:
            broken.append(f"{node_id}: outputs were {old['outputs']}, now {new['outputs']}")
        for section in ("required", "optional"):
            # Old graphs store widget values by position, so that new inputs may only follow the old ones.
            was = [entry for entry in old["inputs"] if entry["section"] == section]
            became = [entry for entry in new["inputs"] if entry["section"] == section]
            for index, entry in enumerate(was):
                other = became[index] if index < len(became) else None
                if other is None or not _keeps(entry, other):
                    broken.append(f"{node_id}: input {index + 1} ({section}) was {entry}, now {other}")
        added = new["inputs"][len(old["inputs"]) :]
        if any(entry["section"] == "required" and entry["default"] is None for entry in added):
            broken.append(f"{node_id}: a new required input has no default; old graphs would not run")
    return broken


def _keeps(old: dict[str, Any], new: dict[str, Any]) -> bool:
    same = all(old[key] == new[key] for key in ("name", "type", "section", "default"))
    return same and set(old.get("options", [])) <= set(new.get("options", []))


def test_nodes_only_grow(object_info: dict[str, Any]) -> None:
    now = {node_id: describe(info) for node_id, info in sorted(object_info.items()) if node_id.startswith("PBG_")}
    before = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
    assert broken_promises(before, now) == []
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(now, indent=1) + "\n")
    else:
        assert before == now, "Nodes have grown. Write it down with UPDATE_SNAPSHOT=1 make test"


def test_a_broken_promise_is_noticed() -> None:
    one = {"name": "a", "type": "INT", "section": "required", "default": 1}
    two = {"name": "b", "type": "COMBO", "section": "required", "default": "x", "options": ["x", "y"]}
    before = {"N": {"inputs": [one, two], "outputs": [["image", "IMAGE"]]}}
    changes = {
        "renamed": {"inputs": [one | {"name": "c"}, two], "outputs": [["image", "IMAGE"]]},
        "new default": {"inputs": [one | {"default": 2}, two], "outputs": [["image", "IMAGE"]]},
        "swapped": {"inputs": [two, one], "outputs": [["image", "IMAGE"]]},
        "option gone": {"inputs": [one, two | {"options": ["x"]}], "outputs": [["image", "IMAGE"]]},
        "output gone": {"inputs": [one, two], "outputs": []},
    }
    for name, node in changes.items():
        assert broken_promises(before, {"N": node}), name
    grown = {"inputs": [one, two | {"options": ["x", "y", "z"]}], "outputs": [["image", "IMAGE"], ["mask", "MASK"]]}
    assert broken_promises(before, {"N": grown, "M": grown}) == []
