"""What the sampler's conditionings say: their token groups, their part of the picture, and which of them are negative.

ComfyUI copies, repeats and swaps them on the way to the model; all that is known of those ways is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.conds
from torch import Tensor

from ..bg_core.region_plan import Chunk, TokenGroups
from ..bg_core.resize import Box
from .text_encoder import KEY  # of the token groups on a conditioning


@dataclass(frozen=True)
class Text:
    """A conditioning's token groups, and its text without the identifier [1,L,D], for ControlNets."""

    groups: TokenGroups
    plain: Tensor | None


Texts = dict[int, Text | None]
"""By the tensor's identity; None for texts without token groups."""


def texts_of(conds: Sequence[Any]) -> Texts:
    """What is known of each text; empty where no conditioning has token groups.

    By the tensor, since an area's conditioning is copied to the other side, its token groups with it, but with another
    text put in (ComfyUI's create_cond_with_same_area_if_none).
    """
    known: Texts = {}
    for cond in (cond for entries in conds for cond in entries or ()):
        value, tensor = cond.get(KEY), cond.get("cross_attn")
        if tensor is not None:
            text = None if value is None else Text(TokenGroups.read(value), value.get("plain"))
            known[id(tensor)] = known.get(id(tensor)) or text
    return known if any(known.values()) else {}


def text_of(cond: dict[str, Any], texts: Texts) -> tuple[Text | None, int]:
    """The text that a conditioning really runs with, and its number of tokens."""
    context = cond["model_conds"].get("c_crossattn")
    tensor = context.cond if context is not None else cond.get("cross_attn")
    if tensor is None:
        return None, 1
    if id(tensor) in texts:
        return texts[id(tensor)], tensor.shape[1]
    return texts.get(id(cond.get("cross_attn"))), tensor.shape[1]  # the model's own encoding of it


def chunk_of(cond: dict[str, Any], texts: Texts, size: tuple[int, int]) -> Chunk:
    text, tokens = text_of(cond, texts)
    return Chunk(None if text is None else text.groups, tokens, box_of(cond.get("area"), size))


def box_of(area: Sequence[int] | None, size: tuple[int, int]) -> Box | None:
    """ComfyUI's area (height, width, top, left), cut to the latents as ComfyUI does it, in fractions of them."""
    if area is None:
        return None
    height, width, top, left = area
    bottom, right = min(top + height, size[0]), min(left + width, size[1])
    return top / size[0], left / size[1], bottom / size[0], right / size[1]


def cells_of(box: Box | None, size: tuple[int, int]) -> tuple[int, int]:
    top, left, bottom, right = box or (0, 0, 1, 1)
    return round((bottom - top) * size[0]), round((right - left) * size[1])


def for_controlnets(conds: Sequence[Any], texts: Texts, made: dict[int, tuple[Tensor, Tensor]]) -> Sequence[Any]:
    """The conditionings, with ControlNets that read the text without the identifier: no mask reaches into them.

    `made`: the text and what they read, by the text's identity; kept from step to step.
    """
    entries = [cond for side in conds for cond in side or () if cond.get("control") is not None]
    if not any(text is not None and text.plain is not None for text in (text_of(cond, texts)[0] for cond in entries)):
        return conds

    def changed(cond: dict[str, Any]) -> dict[str, Any]:
        known = cond["model_conds"]
        if cond.get("control") is None or "crossattn_controlnet" in known:
            return cond
        text, _ = text_of(cond, texts)
        # Those without an identifier get their own: conditionings with other keys would not run as one batch.
        own = known["c_crossattn"]
        if text is not None and text.plain is not None:
            if id(own.cond) not in made:
                made[id(own.cond)] = own.cond, without_identifier(own.cond, text)
            own = comfy.conds.CONDCrossAttn(made[id(own.cond)][1])
        return {**cond, "model_conds": {**known, "crossattn_controlnet": own}}

    return [None if side is None else [changed(cond) for cond in side] for side in conds]


def without_identifier(context: Tensor, text: Text) -> Tensor:
    """`context` [B,L,D] with the neutral tokens in the identifier's places.

    The rest is `context`'s own: another text may have been joined to it or mixed in. Zeroed out, it stays so.
    """
    assert text.plain is not None
    places = [place for name, group in text.groups.groups if name == "identifier" for place in group]
    found = context.clone()
    found[:, places] = text.plain[:, places].to(context) * context.any()
    return found


def negative_sides(conds: Sequence[Any], named: Mapping[str, Any]) -> frozenset[int]:
    """The sides that a guider calls negative, among those it asks for: no reference acts there.

    `named`: the guider's conditionings by name. Most ask for the positive first, some last, some for one side alone.
    """
    negative = [entries for name, entries in named.items() if "negative" in name]
    uuids = {entry.get("uuid") for entries in negative for entry in entries or ()}
    known = {id(entries) for entries in named.values()}

    def is_negative(entries: Any) -> bool:
        if id(entries) in known:
            return any(entries is other for other in negative)
        return bool(entries) and entries[0].get("uuid") in uuids  # a list that a node has made anew

    return frozenset(side for side, entries in enumerate(conds) if is_negative(entries))
