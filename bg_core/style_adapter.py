"""The Personality-Wise Generator's trained part: an encoder for references, and projections for each layer of a UNet.

Beside its attention to the text, each cross-attention layer attends to the reference (decoupled, as IP-Adapter does it,
arXiv 2308.06721), one softmax a group of tokens, so that each group has its own strength:

    out += r[q] * sum over groups g of strength_g * softmax(Q K_g^T / sqrt(d)) V_g

r in [0,1] is the soft region in which the reference acts: the background. K and V come from the tokens through the
layer's own trained projections; Q is the layer's, and frozen. V's projections start at zero: an untrained adapter
changes nothing.

Frozen queries hardly know where they are. So the layout's keys also meet the place of the query, projected as the
tokens' own positions are: near places attract each other from the start. That is our choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .style_config import GROUPS, LayerName, StyleConfig
from .style_encoder import StyleEncoder, Tokens

HIDDEN = -1e4
"""Added to the logits of dropped tokens; their values are zero besides, should all of a group be dropped."""


class StyleLayer(nn.Module):
    """Keys and values of one cross-attention layer of `channels`, from tokens [R,T,W]."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.to_k = nn.Linear(width, channels, bias=False)
        self.to_v = nn.Linear(width, channels, bias=False)
        nn.init.normal_(self.to_k.weight, std=width**-0.5)
        nn.init.zeros_(self.to_v.weight)
        self.place = nn.Parameter(torch.tensor(0.5))


class StyleAdapter(nn.Module):
    """Everything of a style file."""

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = StyleEncoder(config)
        self.layers = nn.ModuleDict(
            {_key((part, n, i)): StyleLayer(config.width, channels) for part, n, i, channels in config.layers}
        )

    def named_layers(self) -> Iterator[tuple[LayerName, StyleLayer]]:
        for part, number, index, _ in self.config.layers:
            layer = self.layers[_key((part, number, index))]
            assert isinstance(layer, StyleLayer)
            yield (part, number, index), layer


@dataclass(frozen=True)
class LayerKeys:
    """What a layer attends to, for R references (R divides the rows), over the T tokens of all groups.

    `k` [R,h,d,T] holds 1/sqrt(d) already, `v` [R,h,T,d] the groups' strengths. `place` [R,h,16,T] meets the positions
    of the queries. `hidden` [R,1,1,T] is added to the logits, None where no token is dropped. `groups`: the range of
    each group's tokens.
    """

    k: Tensor
    v: Tensor
    place: Tensor | None
    hidden: Tensor | None
    groups: tuple[tuple[int, int], ...]

    def to(self, dtype: torch.dtype) -> LayerKeys:
        place = None if self.place is None else self.place.to(dtype)
        hidden = None if self.hidden is None else self.hidden.to(dtype)
        return LayerKeys(self.k.to(dtype), self.v.to(dtype), place, hidden, self.groups)


Strengths = Mapping[str, float | Tensor]
"""By group, a number or one for each reference [R]; 0 leaves a group out."""


def layer_keys(
    adapter: StyleAdapter, layer: StyleLayer, tokens: Mapping[str, Tokens], strengths: Strengths, heads: int
) -> LayerKeys | None:
    """Keys and values of one layer; None where every strength is 0. Dtype and device are the tokens'."""
    chosen = [(group, *_trimmed(tokens[group])) for group in GROUPS if group in tokens and _acts(strengths, group)]
    chosen = [(group, values, kept) for group, values, kept in chosen if values.shape[1]]
    if not chosen:
        return None
    values = torch.cat([values for _, values, _ in chosen], 1)
    project = [layer.to_k.weight, layer.to_v.weight, adapter.encoder.place.weight]
    to_k, to_v, place = (weight.to(values) for weight in project)
    k = (values @ to_k.T).unflatten(-1, (heads, -1)).transpose(1, 2)
    v = (values @ to_v.T).unflatten(-1, (heads, -1)).transpose(1, 2)
    k = k * k.shape[-1] ** -0.5
    ends = torch.tensor([part.shape[1] for _, part, _ in chosen]).cumsum(0).tolist()
    ranges = tuple(zip([0, *ends[:-1]], ends, strict=True))
    scale = torch.cat([_scale(strengths[group], part) for group, part, _ in chosen], 1)
    at_places = None
    if any(group == "layout" for group, _, _ in chosen):
        # (to_k place p)^T k of each head, as p^T (place^T to_k^T k): the same for every size of picture
        through = (to_k @ place).unflatten(0, (heads, -1)) * layer.place.to(values)
        where = torch.cat([part.new_full((part.shape[1],), float(group == "layout")) for group, part, _ in chosen])
        at_places = torch.einsum("hdp,rhtd->rhpt", through, k) * where
    hidden = None
    kept = torch.cat([kept for _, _, kept in chosen], 1)
    if not bool(kept.all()):
        hidden = torch.where(kept, 0.0, HIDDEN).to(values)[:, None, None]
        scale = scale * kept[..., None]
    return LayerKeys(k.transpose(2, 3), v * scale[:, None], at_places, hidden, ranges)


def attend(q: Tensor, keys: LayerKeys, place: Tensor, heads: int) -> Tensor:
    """What a layer's queries `q` [B,N,h*d] take from the references, [B,N,h*d]; R divides B.

    `place` [N,16]: `positions` of the queries.
    """
    repeats = len(q) // len(keys.k)
    query = q.unflatten(-1, (heads, -1)).transpose(1, 2)
    logits = query @ _rows(keys.k, repeats)
    if keys.place is not None:
        logits = logits + place @ _rows(keys.place, repeats)
    if keys.hidden is not None:
        logits = logits + _rows(keys.hidden, repeats)
    weights = [logits[..., start:stop].softmax(-1) for start, stop in keys.groups]
    found = (weights[0] if len(weights) == 1 else torch.cat(weights, -1)) @ _rows(keys.v, repeats)
    return found.transpose(1, 2).flatten(2)


def strengths_of(style: float, layout: float, elements: float) -> dict[str, float]:
    return dict(zip(GROUPS, (style, layout, elements), strict=True))


def _key(name: LayerName) -> str:
    return "_".join(str(part) for part in name)


def _acts(strengths: Strengths, group: str) -> bool:
    strength = strengths.get(group, 0.0)
    return isinstance(strength, Tensor) or strength != 0


def _scale(strength: float | Tensor, values: Tensor) -> Tensor:
    """[R,T,1] from one strength, or one for each of R references."""
    if isinstance(strength, Tensor):
        return strength.to(values).view(-1, 1, 1).expand(*values.shape[:2], 1)
    return values.new_full((*values.shape[:2], 1), strength)


def _trimmed(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Without the tokens that all references drop."""
    some = tokens.kept.any(0)
    if bool(some.all()):
        return tokens.values, tokens.kept
    return tokens.values[:, some], tokens.kept[:, some]


def _rows(tensor: Tensor, repeats: int) -> Tensor:
    """[R,...] for R * repeats rows; a single reference needs no copies."""
    return tensor if len(tensor) == 1 or repeats == 1 else tensor.repeat(repeats, *(1,) * (tensor.ndim - 1))
