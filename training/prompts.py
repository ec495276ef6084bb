"""Prompts with identifiers through transformers' CLIP, exactly as the nodes send them through ComfyUI's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import get_ident
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from bg_core.base import BOS, EOS, HOST_VOCABULARY_SIZE
from bg_core.errors import ProductBackgroundError
from bg_core.prompt import Chunk, Prompt, close_leak, tokenize
from bg_core.prompt_text import TEMPLATE, parse

from .text import POSITIONS, ClipTokens, Vocabulary

if TYPE_CHECKING:
    from transformers import CLIPTextModel

WHOLE = 8  # ComfyUI's `max_word_length`


class TransformersTokens:
    """CLIP's tokenizer, for `bg_core.prompt.tokenize`. `embeddings`: textual inversions by name, [n,width]."""

    start, end, pad, length, whole = BOS, EOS, EOS, POSITIONS, WHOLE

    def __init__(self, clip: ClipTokens | None = None, embeddings: Mapping[str, Tensor] | None = None) -> None:
        self._clip, self._embeddings = clip or ClipTokens(), embeddings or {}

    def ids(self, text: str) -> list[int]:
        return list(self._clip.ids(text))

    def embedding(self, name: str) -> tuple[Tensor | None, str]:
        bare = name if name in self._embeddings else name.strip(",")
        return self._embeddings.get(bare), name[len(bare) :]


class PromptEncoder:
    """Texts with an identifier to the contexts that a UNet reads, with gradients to the identifier.

    `text` is a CLIPTextModel over the whole vocabulary, or over the trimmed one that `vocabulary` describes.
    """

    def __init__(
        self, text: CLIPTextModel, vocabulary: Vocabulary | None = None, tokens: TransformersTokens | None = None
    ) -> None:
        self.text, self.tokens = text, tokens or TransformersTokens()
        self.width = int(text.config.hidden_size)
        self._rows = torch.arange(HOST_VOCABULARY_SIZE)
        if vocabulary is not None:
            self._rows.fill_(vocabulary.unknown)
            known = vocabulary.to_tensor()[1:]  # the first row stands for all others
            self._rows[known] = torch.arange(1, len(vocabulary))

    def rows(self, ids: Tensor) -> Tensor:
        """Rows of the encoder's embedding table for the host's token ids."""
        return self._rows[ids]

    def prompt(self, category: str, vectors: int, template: str = TEMPLATE, scene: str | None = None) -> Prompt:
        """`template` with the words of `category`, and room for `vectors` vectors or for the words of `scene`."""
        return tokenize(parse(template, category, scene), self.tokens, 0 if scene is not None else vectors, self.width)

    def neutral(self, prompts: Sequence[Prompt]) -> Tensor:
        """The contexts [B,L,D] with the neutral word for the identifier: the same for all identifiers, so keep them."""
        return self._encode([prompt.neutral() for prompt in prompts], self.tokens.length)

    def filled(self, prompts: Sequence[Prompt], vectors: Tensor | None, whole: bool = False) -> Tensor:
        """The contexts [B,L,D] with `vectors` [B,vectors,width], as they leave the encoder, the leak still open.

        Unless `whole`, zero behind the last identifier of a chunk: CLIP is causal, and the rest is not wanted.
        """
        chunks = [prompt.filled(None if vectors is None else vectors[i]) for i, prompt in enumerate(prompts)]
        if whole:
            return self._encode(chunks, self.tokens.length)
        last = [position % self.tokens.length for prompt in prompts for position in prompt.own.nonzero().flatten()]
        return self._encode(chunks, int(max(last, default=0)) + 1)

    def contexts(
        self, prompts: Sequence[Prompt], vectors: Tensor | None, neutral: Tensor | None = None, strength: float = 1.0
    ) -> Tensor:
        """What the UNet reads, [B,L,D]: identifiers at their own positions, the neutral run everywhere else.

        `neutral`: what `neutral(prompts)` gave before. Gradients go to `vectors`, and to the encoder if it is trained.
        """
        if neutral is None:
            neutral = self.neutral(prompts)
        own = torch.stack([prompt.own for prompt in prompts])
        return close_leak(self.filled(prompts, vectors), neutral, own, strength)

    def _encode(self, prompts: Sequence[list[Chunk]], upto: int) -> Tensor:
        """[B,L,D] of which each chunk's first `upto` tokens are computed and the rest is zero."""
        if len({len(chunks) for chunks in prompts}) > 1:
            raise ProductBackgroundError(
                "The prompts of a batch have different lengths: "
                f"{', '.join(str(len(chunks) * self.tokens.length) for chunks in prompts)} tokens. Sort them by length."
            )
        flat = [chunk[:upto] for chunks in prompts for chunk in chunks]
        weights = torch.tensor([[weight for _, weight in chunk] for chunk in flat])
        weighted = bool((weights != 1).any())
        if weighted:
            empty: Chunk = [(self.tokens.start, 1.0), (self.tokens.end, 1.0)]
            flat.append((empty + [(self.tokens.pad, 1.0)] * self.tokens.length)[:upto])
        out = self._run(flat)
        if weighted:
            out, nothing = out[:-1], out[-1:]
            weights = weights.to(out).unsqueeze(-1)
            out = torch.where(weights != 1, (out - nothing) * weights + nothing, out)
        out = F.pad(out, (0, 0, 0, self.tokens.length - upto))
        return out.reshape(len(prompts), -1, self.width)

    def _run(self, chunks: Sequence[Chunk]) -> Tensor:
        """The encoder's last hidden state [N,tokens,D]; tensors among the tokens replace their input embeddings."""
        places = [(i, j, t) for i, chunk in enumerate(chunks) for j, (t, _) in enumerate(chunk) if torch.is_tensor(t)]
        ids = torch.tensor([[0 if torch.is_tensor(token) else token for token, _ in chunk] for chunk in chunks])
        table = self.text.get_input_embeddings()
        rows = self._rows[ids].to(table.weight.device)
        thread = get_ident()

        def put(module: object, inputs: object, embedded: Tensor) -> Tensor:
            if get_ident() != thread:  # parts of a batch read at the same time
                return embedded
            where = tuple(torch.tensor(axis, device=embedded.device) for axis in list(zip(*places, strict=True))[:2])
            return embedded.index_put(where, torch.stack([t for _, _, t in places]).to(embedded))

        hook = table.register_forward_hook(put) if places else None
        try:
            return self.text(input_ids=rows).last_hidden_state
        finally:
            if hook is not None:
                hook.remove()
