"""The only file that knows ComfyUI's model patcher: how regions enter a model's cross-attention, and leave it again.

Late, so that nobody is in anybody's way. A `Director` hangs three wrappers on a MODEL:

- OUTER_SAMPLE forgets what an earlier run has prepared.
- CALC_COND_BATCH sees each conditioning whole, with the token groups that Category Conditioning wrote on it and its
  area, and gives ControlNets the text without the identifier.
- APPLY_MODEL sees the rows that run together. Where masks change the attention of some, it wraps the
  `patches_replace["attn2"]` entries of that one call; the graph's own options stay as they are.

A call that nothing changes runs the stock code, bit for bit. Another pack's patch is called as ever, with the tensors
that it knows; what the regions change is added to its result. So the order of nodes doesn't matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.conds
from comfy.ldm.modules.attention import SpatialTransformer, SpatialVideoTransformer
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..bg_core.attention_map import Record
from ..bg_core.errors import ProductBackgroundError
from ..bg_core.region_plan import Chunk, Guide, Plan, TokenGroups, Watched
from ..bg_core.resize import Box
from .guided_attention import GuidedAttention, Layer
from .text_encoder import KEY  # of the token groups on a conditioning, and here of the wrappers on a model

# Anything that asks the sampler's noise level has to wait for the device; guides for the whole run don't ask.
WHOLE_RUN = (0.0, 1.0)


def guided(model: Any, guide: Guide) -> Any:
    """A copy of a MODEL whose cross-attention follows one guide more. Of two, the regions are multiplied."""
    director = _director_of(model)
    return _directed(model, Director(director.layers, (*director.guides, guide), director.record))


def tapped(model: Any) -> tuple[Any, Record]:
    """A copy of a MODEL that records what token groups look at, and the record; each sampling run fills it anew."""
    director, record = _director_of(model), Record()
    return _directed(model, Director(director.layers, director.guides, record)), record


def _director_of(model: Any) -> Director:
    known = model.get_wrappers(WrappersMP.APPLY_MODEL, KEY)
    return known[0].__self__ if known else Director(cross_attention_layers(model.model))


def _directed(model: Any, director: Director) -> Any:
    copy = model.clone()
    wrappers = {
        WrappersMP.OUTER_SAMPLE: director.outer_sample,
        WrappersMP.CALC_COND_BATCH: director.calc_cond_batch,
        WrappersMP.APPLY_MODEL: director.apply_model,
    }
    for kind, wrapper in wrappers.items():
        copy.remove_wrappers_with_key(kind, KEY)  # one director a model: all guides make one bias
        copy.add_wrapper_with_key(kind, KEY, wrapper)
    return copy


def cross_attention_layers(model: Any) -> tuple[Layer, ...]:
    """Where the UNet of a ComfyUI BaseModel has cross-attention, in the order it runs.

    Raises ProductBackgroundError for models of other kinds: they have no cross-attention to a text, or a different one.
    """
    unet = getattr(model, "diffusion_model", None)
    parts = {"input": getattr(unet, "input_blocks", ()), "output": getattr(unet, "output_blocks", ())}
    middle = getattr(unet, "middle_block", None)
    blocks = [("input", i, block) for i, block in enumerate(parts["input"])]
    blocks += [("middle", 0, middle)] if middle is not None else []
    blocks += [("output", i, block) for i, block in enumerate(parts["output"])]
    found = []
    for part, number, block in blocks:
        for module in block:
            if isinstance(module, SpatialVideoTransformer):
                raise ProductBackgroundError("Video models aren't supported: their text acts on many frames at once.")
            if isinstance(module, SpatialTransformer):
                indices = range(len(module.transformer_blocks))
                found += [(part, number, i) for i in indices if module.transformer_blocks[i].attn2 is not None]
    if not found:
        raise ProductBackgroundError(
            f"This model ({type(unet).__name__}) has no cross-attention that regions could guide. Supported are the "
            "UNets of Stable Diffusion 1.x, 2.x and XL, and the demonstration base."
        )
    return tuple(found)


@dataclass(frozen=True)
class _Text:
    """A conditioning's token groups, and its text without the identifier [1,L,D], for ControlNets."""

    groups: TokenGroups
    plain: Tensor | None


Texts = dict[int, _Text | None]
"""By the tensor's identity; None for texts without token groups."""


@dataclass(frozen=True)
class _Scene:
    """What the sampler is about to run: `chunks` by (side, uuid), `batch` latents of `size` (h, w).

    Sides are the lists of conditionings that a guider asks for. Most put the positive first, some last.
    """

    chunks: dict[tuple[int, Any], Chunk]
    batch: int
    size: tuple[int, int]
    guides: tuple[Guide, ...]

    def recorded_side(self) -> int:
        """The first with token groups; a negative that was made from the positive has them too, and isn't meant."""
        return min(side for (side, _), chunk in self.chunks.items() if chunk.groups)


@dataclass(frozen=True)
class _Prepared:
    """The plan of one batch layout, what of it is recorded, and a patch a layer and foreign patch."""

    plan: Plan
    watched: tuple[Watched, ...]
    patches: dict[tuple[Layer, int], GuidedAttention]


class Director:
    """Plans and patches of one MODEL; see the module's own text. Copies of the MODEL share it."""

    def __init__(self, layers: Sequence[Layer], guides: Sequence[Guide] = (), record: Record | None = None) -> None:
        self.layers, self.guides, self.record = tuple(layers), tuple(guides), record
        self._scene: _Scene | None = None
        self._forget()

    def __deepcopy__(self, memo: dict[int, Any]) -> Director:
        return self  # masks and plans must not be copied by every node that clones the model

    def _forget(self) -> None:
        self._prepared: dict[Any, _Prepared] = {}
        self._bounds: dict[Guide, tuple[float, float]] = {}

    def outer_sample(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        self._forget()
        if self.record is not None:
            self.record.clear()
        try:
            return executor(*args, **kwargs)
        finally:
            self._forget()

    def calc_cond_batch(
        self, executor: Any, model: Any, conds: Sequence[Any], x_in: Tensor, timestep: Tensor, options: dict[str, Any]
    ) -> Any:
        before, texts = self._scene, _texts(conds)
        try:
            self._scene = self._seen(model, conds, texts, x_in, timestep) if texts else None
            return executor(model, _for_controlnets(conds, texts), x_in, timestep, options)
        finally:
            self._scene = before

    def _seen(self, model: Any, conds: Sequence[Any], texts: Texts, x_in: Tensor, timestep: Tensor) -> _Scene:
        size = (x_in.shape[-2], x_in.shape[-1])
        chunks = {
            (side, cond.get("uuid")): _chunk(cond, texts, size)
            for side, entries in enumerate(conds)
            for cond in entries or ()
        }
        guides = tuple(guide for guide in self.guides if self._acts(guide, model, timestep))
        return _Scene(chunks, x_in.shape[0], size, guides)

    def _acts(self, guide: Guide, model: Any, timestep: Tensor) -> bool:
        if (guide.start, guide.end) == WHOLE_RUN:
            return True
        if guide not in self._bounds:
            to_sigma = model.model_sampling.percent_to_sigma
            self._bounds[guide] = to_sigma(guide.start), to_sigma(guide.end)
        first, last = self._bounds[guide]
        return last <= float(timestep[0]) <= first

    def apply_model(
        self,
        executor: Any,
        x: Tensor,
        t: Tensor,
        c_concat: Tensor | None = None,
        c_crossattn: Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        options = transformer_options or {}
        if self._scene is not None and c_crossattn is not None and options.get("uuids"):
            options = self._patched(executor.class_obj, x, c_crossattn.shape[1], options)
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)

    def _patched(self, model: Any, x: Tensor, keys: int, options: dict[str, Any]) -> dict[str, Any]:
        """The options of one call, with our patches where they change something."""
        scene, sides = self._scene, options["cond_or_uncond"]
        assert scene is not None
        chunks = [scene.chunks.get(names, Chunk(None, keys)) for names in zip(sides, options["uuids"], strict=True)]
        if not any(chunk.groups for chunk in chunks):
            return options
        part = (x.shape[-2], x.shape[-1])
        expected = {_cells(chunk.box, scene.size) for chunk in chunks}
        if x.shape[0] != len(chunks) * scene.batch or expected != {part}:
            raise ProductBackgroundError(
                f"Mask-Guided Attention expected {len(chunks)} x {scene.batch} latents of {sorted(expected)} cells, "
                f"and the model gets {x.shape[0]} of {part}. Another node cuts the latents up (tiled diffusion?). "
                "Use one of the two."
            )
        dtype = model.manual_cast_dtype or model.get_dtype()
        layout = (tuple(chunks), scene.batch, keys, scene.guides, scene.size, part, dtype, x.device)
        key = layout, tuple(sides)
        prepared = self._prepared.get(key)
        if prepared is None:
            plan, recorded = Plan(*layout), scene.recorded_side()
            watched = () if self.record is None else plan.watched([side == recorded for side in sides])
            prepared = self._prepared[key] = _Prepared(plan, watched, {})
        if not prepared.plan.spans and not prepared.watched:
            return options
        replace = options.get("patches_replace", {})
        attn2 = dict(replace.get("attn2", {}))
        for layer in self.layers:
            previous = attn2.get(layer, attn2.get(layer[:2]))
            # The same object in every step, should a compiler guard on identity (that of torch 2.14 does on the type).
            place = layer, id(previous)
            if place not in prepared.patches:
                prepared.patches[place] = GuidedAttention(prepared.plan, layer, previous, self.record, prepared.watched)
            attn2[layer] = prepared.patches[place]
        return {**options, "patches_replace": {**replace, "attn2": attn2}}


def _texts(conds: Sequence[Any]) -> Texts:
    """What is known of each text; empty where no conditioning has token groups.

    By the tensor, since an area's conditioning is copied to the other side, its token groups with it, but with another
    text put in (ComfyUI's create_cond_with_same_area_if_none).
    """
    known: Texts = {}
    for cond in (cond for entries in conds for cond in entries or ()):
        value, tensor = cond.get(KEY), cond.get("cross_attn")
        if tensor is not None:
            text = None if value is None else _Text(TokenGroups.read(value), value.get("plain"))
            known[id(tensor)] = known.get(id(tensor)) or text
    return known if any(known.values()) else {}


def _text_of(cond: dict[str, Any], texts: Texts) -> tuple[_Text | None, int]:
    """The text that a conditioning really runs with, and its number of tokens."""
    context = cond["model_conds"].get("c_crossattn")
    tensor = context.cond if context is not None else cond.get("cross_attn")
    if tensor is None:
        return None, 1
    if id(tensor) in texts:
        return texts[id(tensor)], tensor.shape[1]
    return texts.get(id(cond.get("cross_attn"))), tensor.shape[1]  # the model's own encoding of it


def _chunk(cond: dict[str, Any], texts: Texts, size: tuple[int, int]) -> Chunk:
    text, tokens = _text_of(cond, texts)
    return Chunk(None if text is None else text.groups, tokens, _box(cond.get("area"), size))


def _box(area: Sequence[int] | None, size: tuple[int, int]) -> Box | None:
    """ComfyUI's area (height, width, top, left), cut to the latents as ComfyUI does it, in fractions of them."""
    if area is None:
        return None
    height, width, top, left = area
    bottom, right = min(top + height, size[0]), min(left + width, size[1])
    return top / size[0], left / size[1], bottom / size[0], right / size[1]


def _cells(box: Box | None, size: tuple[int, int]) -> tuple[int, int]:
    top, left, bottom, right = box or (0, 0, 1, 1)
    return round((bottom - top) * size[0]), round((right - left) * size[1])


def _for_controlnets(conds: Sequence[Any], texts: Texts) -> Sequence[Any]:
    """The conditionings, with ControlNets that read the text without the identifier: no mask reaches into them."""
    entries = [cond for side in conds for cond in side or () if cond.get("control") is not None]
    if not any(text is not None and text.plain is not None for text in (_text_of(cond, texts)[0] for cond in entries)):
        return conds

    def changed(cond: dict[str, Any]) -> dict[str, Any]:
        known = cond["model_conds"]
        if cond.get("control") is None or "crossattn_controlnet" in known:
            return cond
        text, _ = _text_of(cond, texts)
        plain = None if text is None else text.plain
        # Those without an identifier get their own: conditionings with other keys would not run as one batch.
        own = known["c_crossattn"] if plain is None else comfy.conds.CONDCrossAttn(plain)
        return {**cond, "model_conds": {**known, "crossattn_controlnet": own}}

    return [None if side is None else [changed(cond) for cond in side] for side in conds]
