"""What the UNet reads in each arm: prompts with identifiers, names, scenes or captions, and who may act where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from bg_core.prompt import NEUTRAL_WORD, Prompt
from bg_core.prompt_text import IDENTIFIER, IDENTIFIER_GROUP, TEMPLATE

from ..painters import Painter
from ..prompts import PromptEncoder, TransformersTokens
from .plan import Place

INVERSION_TEMPLATE = f"a photo of {IDENTIFIER}"
"""The vectors stand for the product's name."""

HIDDEN = NEUTRAL_WORD
"""The product's name where the product is hidden: only the identifier tells what to paint."""


@dataclass(frozen=True)
class Context:
    """What a batch's rows read, [B,L,D], and the positions of each row's identifier, empty for none."""

    values: Tensor
    positions: list[list[int]]


class Texts:
    """Makes contexts through a painter's frozen text encoder. What doesn't depend on vectors is computed once."""

    def __init__(self, painter: Painter, template: str = TEMPLATE, tokens: TransformersTokens | None = None) -> None:
        self.encoder = PromptEncoder(painter.text, painter.vocabulary, tokens)
        self.template = template
        self._prompt = cache(self._new_prompt)
        self._neutral: dict[tuple[str, int], Tensor] = {}
        self._plain: dict[tuple[str, str, str], Tensor] = {}

    def with_vectors(self, words: Sequence[str], vectors: Tensor, place: Place = "identifier") -> Context:
        """`vectors` [B,n,D] in the identifier's place, the leak closed; or, as `inversion`, for the name, left open."""
        count = vectors.shape[1]
        if place == "inversion":
            prompts = [self._prompt("", count, INVERSION_TEMPLATE)] * len(vectors)
            return Context(self.encoder.filled(prompts, vectors, whole=True), [[] for _ in prompts])
        prompts = [self._prompt(one, count, self.template) for one in words]
        values = self.encoder.contexts(prompts, vectors, self.neutral(words, count))
        return Context(values, [prompt.groups[IDENTIFIER_GROUP] for prompt in prompts])

    def left_open(self, words: Sequence[str], vectors: Tensor) -> Context:
        """The same with CLIP's later tokens as they come, following the identifier: for the measure of that leak."""
        prompts = [self._prompt(one, vectors.shape[1], self.template) for one in words]
        values = self.encoder.filled(prompts, vectors, whole=True)
        return Context(values, [prompt.groups[IDENTIFIER_GROUP] for prompt in prompts])

    def in_words(self, words: Sequence[str], scenes: Sequence[str]) -> Context:
        """Plain text, `scenes` in the identifier's place."""
        return self._plain_context([(self.template, one, scene) for one, scene in zip(words, scenes, strict=True)])

    def captions(self, captions: Sequence[str]) -> Context:
        """Plain text and nothing else; an empty one is what guidance goes away from."""
        return self._plain_context([(IDENTIFIER, "", caption) for caption in captions])

    def neutral(self, words: Sequence[str], count: int) -> Tensor:
        """[B,L,D] with neutral words in the place of `count` vectors: no category at all."""
        prompts = [self._prompt(one, count, self.template) for one in words]
        kept = [self._neutral_context(one, count, prompt) for one, prompt in zip(words, prompts, strict=True)]
        return torch.cat(kept)

    @torch.no_grad()
    def _plain_context(self, keys: list[tuple[str, str, str]]) -> Context:
        new = [key for key in dict.fromkeys(keys) if key not in self._plain]
        for start in range(0, len(new), 64):
            some = new[start : start + 64]
            prompts = [self.encoder.prompt(words, 0, template, scene) for template, words, scene in some]
            for key, row in zip(some, self.encoder.filled(prompts, None, whole=True).split(1), strict=True):
                self._plain[key] = row
        return Context(torch.cat([self._plain[key] for key in keys]), [[] for _ in keys])

    @torch.no_grad()
    def _neutral_context(self, words: str, count: int, prompt: Prompt) -> Tensor:
        key = (words, count)
        if key not in self._neutral:
            self._neutral[key] = self.encoder.neutral([prompt])
        return self._neutral[key]

    def _new_prompt(self, words: str, count: int, template: str) -> Prompt:
        return self.encoder.prompt(words, count, template)


class Identifiers(nn.Module):
    """The vectors of K categories, [K,n,D], in units of the deviation of the text encoder's own word embeddings.

    So one learning rate serves every base. `names` [K] are what they start from: the embeddings of the name's tokens,
    from the first again where there are more vectors than tokens.
    """

    def __init__(self, painter: Painter, names: Sequence[str], vectors: int, texts: Texts) -> None:
        super().__init__()
        table = painter.text.get_input_embeddings().weight.detach()
        self.unit = float(table.float().std())
        with torch.no_grad():
            starts = torch.stack([self._start(texts.encoder, table, name, vectors) for name in names])
        self.vectors = nn.Parameter(starts / self.unit)

    def forward(self, rows: Tensor) -> Tensor:
        """[B,n,D] for `rows` [B]."""
        return self.vectors[rows] * self.unit

    def all(self) -> Tensor:
        return self.vectors.detach() * self.unit

    @staticmethod
    def _start(encoder: PromptEncoder, table: Tensor, name: str, vectors: int) -> Tensor:
        ids = encoder.tokens.ids(name) or encoder.tokens.ids(NEUTRAL_WORD)
        rows = encoder.rows(torch.tensor([ids[i % len(ids)] for i in range(vectors)]))
        return table[rows.to(table.device)].float()
