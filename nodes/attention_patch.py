"""The only file that knows ComfyUI's model patcher: how regions and references enter a model, and leave it again.

Late, so that nobody is in anybody's way. A `Director` hangs three wrappers on a MODEL:

- OUTER_SAMPLE forgets what an earlier run has prepared.
- CALC_COND_BATCH sees each conditioning whole, with the token groups that Category Conditioning wrote on it and its
  area, and gives ControlNets the text without the identifier.
- APPLY_MODEL sees the rows that run together. Where masks or references change the attention of some, it wraps the
  `patches_replace["attn2"]` entries of that one call (`"attn1"` for references without trained weights); the graph's
  own options stay as they are.

A call that nothing changes runs the stock code, bit for bit. Another pack's patch is called as ever, with the tensors
that it knows; what the regions change is added to its result. So the order of nodes doesn't matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..bg_core.attention_map import Record
from ..bg_core.errors import ProductBackgroundError
from ..bg_core.region_plan import Chunk, Guide, Plan, Watched
from ..bg_core.self_reference import SelfGuide
from ..bg_core.style_plan import Keys, Reach, StyledChunk, StyleGuide, StylePlan
from .conditionings import Texts, cells_of, chunk_of, for_controlnets, negative_sides, texts_of
from .guided_attention import GuidedAttention
from .self_attention import SelfAttention, SelfRun
from .text_encoder import KEY
from .unet_layers import Layer, cross_attention_layers, modules_of

__all__ = ["cross_attention_layers", "guided", "styled", "tapped"]

# Anything that asks the sampler's noise level has to wait for the device; guides for the whole run don't ask.
WHOLE_RUN = (0.0, 1.0)

AnyGuide = Guide | StyleGuide | SelfGuide


@dataclass(frozen=True)
class Guides:
    """Everything that our nodes want of one model, in the order of the nodes."""

    regions: tuple[Guide, ...] = ()
    styles: tuple[StyleGuide, ...] = ()
    selves: tuple[SelfGuide, ...] = ()

    def chosen(self, acts: Callable[[AnyGuide], bool]) -> Guides:
        """Those that act."""
        return Guides(*(tuple(filter(acts, kind)) for kind in (self.regions, self.styles, self.selves)))

    @property
    def of_references(self) -> bool:
        return bool(self.styles or self.selves)


def guided(model: Any, guide: Guide) -> Any:
    """A copy of a MODEL whose cross-attention follows one guide more. Of two, the regions are multiplied."""
    director = _director_of(model)
    guides = replace(director.guides, regions=(*director.guides.regions, guide))
    return _directed(model, Director(director.heads, guides, director.record))


def styled(model: Any, guide: StyleGuide | SelfGuide, weights: Any = None) -> Any:
    """A copy of a MODEL that follows one reference more; what several add is summed.

    `weights`: the ModelPatcher of a StyleGuide's adapter, which ComfyUI then moves along with the model.
    """
    director = _director_of(model)
    kind = "styles" if isinstance(guide, StyleGuide) else "selves"
    guides = replace(director.guides, **{kind: (*getattr(director.guides, kind), guide)})
    copy = _directed(model, Director(director.heads, guides, director.record))
    if weights is not None:
        known = copy.get_additional_models_with_key(KEY)
        if not any(patcher.model is weights.model for patcher in known):
            copy.set_additional_models(KEY, [*known, weights])
    return copy


def tapped(model: Any) -> tuple[Any, Record]:
    """A copy of a MODEL that records what token groups look at, and the record; each sampling run fills it anew."""
    director, record = _director_of(model), Record()
    return _directed(model, Director(director.heads, director.guides, record)), record


def _director_of(model: Any) -> Director:
    known = model.get_wrappers(WrappersMP.APPLY_MODEL, KEY)
    if known:
        return known[0].__self__
    return Director({layer: module.heads for layer, module in modules_of(model.model).items()})


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


@dataclass(frozen=True)
class _Scene:
    """What the sampler is about to run: `chunks` by (side, uuid), `batch` latents of `size` (h, w).

    Sides are the lists of conditionings that a guider asks for; on `negative` ones no reference acts.
    """

    chunks: dict[tuple[int, Any], Chunk]
    batch: int
    size: tuple[int, int]
    guides: Guides
    negative: frozenset[int]

    def recorded_side(self) -> int:
        """The first with token groups; a negative that was made from the positive has them too, and isn't meant."""
        return min(side for (side, _), chunk in self.chunks.items() if chunk.groups)


@dataclass(frozen=True)
class _Prepared:
    """The plans of one batch layout, what of it is recorded, and a patch a layer and foreign patch."""

    plan: Plan
    watched: tuple[Watched, ...]
    style: StylePlan | None
    own: SelfRun | None
    patches: dict[tuple[str, Layer, int], GuidedAttention | SelfAttention] = field(default_factory=dict)

    @property
    def acts_on_text(self) -> bool:
        return bool(self.plan.spans or self.watched or self.style)


class Director:
    """Plans and patches of one MODEL; see the module's own text. Copies of the MODEL share it.

    `heads`: of each layer with cross-attention, in the order they run.
    """

    def __init__(self, heads: Mapping[Layer, int], guides: Guides = Guides(), record: Record | None = None) -> None:
        self.heads, self.guides, self.record = dict(heads), guides, record
        self._scene: _Scene | None = None
        self._guider: Any = None
        self._forget()

    def __deepcopy__(self, memo: dict[int, Any]) -> Director:
        return self  # masks and plans must not be copied by every node that clones the model

    def _forget(self) -> None:
        self._prepared: dict[Any, _Prepared] = {}
        self._unmarked: dict[int, tuple[Tensor, Tensor]] = {}
        self._bounds: dict[AnyGuide, tuple[float, float]] = {}
        self._keys: dict[tuple[StyleGuide, torch.dtype, torch.device], Keys] = {}

    def outer_sample(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        self._forget()
        before, self._guider = self._guider, executor.class_obj
        if self.record is not None:
            self.record.clear()
        try:
            return executor(*args, **kwargs)
        finally:
            self._guider = before
            self._forget()

    def calc_cond_batch(
        self, executor: Any, model: Any, conds: Sequence[Any], x_in: Tensor, timestep: Tensor, options: dict[str, Any]
    ) -> Any:
        before, texts = self._scene, texts_of(conds)
        try:
            seen = bool(texts) or self.guides.of_references
            self._scene = self._seen(model, conds, texts, x_in, timestep) if seen else None
            return executor(model, for_controlnets(conds, texts, self._unmarked), x_in, timestep, options)
        finally:
            self._scene = before

    def _seen(self, model: Any, conds: Sequence[Any], texts: Texts, x_in: Tensor, timestep: Tensor) -> _Scene:
        size = (x_in.shape[-2], x_in.shape[-1])
        chunks = {
            (side, cond.get("uuid")): chunk_of(cond, texts, size)
            for side, entries in enumerate(conds)
            for cond in entries or ()
        }
        guides = self.guides.chosen(lambda guide: self._acts(guide, model, timestep))
        negative = negative_sides(conds, getattr(self._guider, "conds", {}))
        return _Scene(chunks, x_in.shape[0], size, guides, negative)

    def _acts(self, guide: AnyGuide, model: Any, timestep: Tensor) -> bool:
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
            prepared = self._prepare(self._scene, executor.class_obj, x, c_crossattn.shape[1], options)
            if prepared is not None:
                if prepared.own is not None:
                    prepared.own.record(executor.class_obj, t, c_crossattn, options, kwargs)
                options = self._patched(prepared, options)
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)

    def _prepare(self, scene: _Scene, model: Any, x: Tensor, keys: int, options: dict[str, Any]) -> _Prepared | None:
        """The plans for the rows of one call; None where nothing changes them."""
        sides = options["cond_or_uncond"]
        known = [scene.chunks.get(names) for names in zip(sides, options["uuids"], strict=True)]
        chunks = [Chunk(None, keys) if chunk is None else chunk for chunk in known]
        acting = scene.guides.of_references
        rows = [
            StyledChunk(acting and chunk is not None and side not in scene.negative, chunk and chunk.box)
            for side, chunk in zip(sides, known, strict=True)
        ]
        texts = any(chunk.groups for chunk in chunks)
        if not texts and not any(row.acts for row in rows):
            return None
        part = (x.shape[-2], x.shape[-1])
        _check_latents(scene, chunks, x.shape[0], part, "Mask-Guided Attention" if texts else "Apply Style Reference")
        dtype = model.manual_cast_dtype or model.get_dtype()
        whole = scene.size, part, dtype, x.device
        key = tuple(chunks), tuple(rows), scene.batch, keys, scene.guides, whole, tuple(sides)
        if key not in self._prepared:
            plan = Plan(chunks, scene.batch, keys, scene.guides.regions if texts else (), *whole)
            watched: tuple[Watched, ...] = ()
            if self.record is not None and texts:
                recorded = scene.recorded_side()
                watched = plan.watched([side == recorded for side in sides])
            style, own = None, None
            if scene.guides.styles:
                found = [self._keys_of(guide, dtype, x.device) for guide in scene.guides.styles]
                style = StylePlan(rows, scene.batch, scene.guides.styles, found, *whole)
            if scene.guides.selves:
                own = SelfRun(Reach(rows, scene.batch, scene.guides.selves, *whole), tuple(self.heads))
            self._prepared[key] = _Prepared(
                plan, watched, style if style and style.spans else None, own if own and own.reach.spans else None
            )
        return self._prepared[key]

    def _keys_of(self, guide: StyleGuide, dtype: torch.dtype, device: torch.device) -> Keys:
        key = guide, dtype, device
        if key not in self._keys:
            self._keys[key] = guide.keys(self.heads, dtype, device)
        return self._keys[key]

    def _patched(self, prepared: _Prepared, options: dict[str, Any]) -> dict[str, Any]:
        """The options of one call, with our patches where they change something."""
        replaced = dict(options.get("patches_replace", {}))
        kinds = [kind for kind, acts in (("attn2", prepared.acts_on_text), ("attn1", prepared.own)) if acts]
        for kind in kinds:
            slots = replaced[kind] = dict(replaced.get(kind, {}))
            for layer in self.heads:
                previous = slots.get(layer, slots.get(layer[:2]))
                # The same object in every step, should a compiler guard on identity (that of torch 2.14 does on type).
                place = kind, layer, id(previous)
                if place not in prepared.patches:
                    prepared.patches[place] = (
                        GuidedAttention(prepared.plan, layer, previous, self.record, prepared.watched, prepared.style)
                        if kind == "attn2"
                        else SelfAttention(prepared.own, layer, previous)
                    )
                slots[layer] = prepared.patches[place]
        return {**options, "patches_replace": replaced} if kinds else options


def _check_latents(scene: _Scene, chunks: Sequence[Chunk], rows: int, part: tuple[int, int], node: str) -> None:
    expected = {cells_of(chunk.box, scene.size) for chunk in chunks}
    if rows != len(chunks) * scene.batch or expected != {part}:
        raise ProductBackgroundError(
            f"{node} expected {len(chunks)} x {scene.batch} latents of {sorted(expected)} cells, and the model gets "
            f"{rows} of {part}. Another node cuts the latents up (tiled diffusion?). Use one of the two."
        )
