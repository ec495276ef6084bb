"""The only file that knows the insides of ComfyUI's CLIP: prompts with an identifier go through it here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.sd1_clip
from torch import Tensor

from ..bg_core.errors import ProductBackgroundError
from ..bg_core.marked_context import MarkedContext
from ..bg_core.prompt import Prompt, close_leak
from ..bg_core.prompt_text import EMBEDDING, IDENTIFIER_GROUP

KEY = "product_background"
"""Of the token positions on a conditioning; the attention nodes read it."""


class HostTokens:
    """The tokenizer of a CLIP, for `bg_core.prompt.tokenize`."""

    def __init__(self, tokenizer: comfy.sd1_clip.SDTokenizer) -> None:
        self._tokenizer = tokenizer
        self.start, self.end, self.pad = tokenizer.start_token, tokenizer.end_token, tokenizer.pad_token
        self.length, self.whole = tokenizer.max_length, tokenizer.max_word_length

    def ids(self, text: str) -> list[int]:
        return list(self._tokenizer.tokenizer(text)["input_ids"][1:-1])

    def embedding(self, name: str) -> tuple[Tensor | None, str]:
        if self._tokenizer.embedding_directory is None:
            return None, EMBEDDING + name  # the host takes it for text then
        return self._tokenizer._try_get_embedding(name)


class TextEncoder:
    """A CLIP of one text encoder, as Stable Diffusion 1.5, 2 and the demonstration base have it.

    Raises ProductBackgroundError for others (SDXL's pair, T5 and the like): identifiers are no use to them.
    """

    def __init__(self, clip: Any) -> None:
        if clip is None:
            raise ProductBackgroundError(
                "There is no CLIP: its checkpoint holds no text encoder. Load one with a CLIP loader."
            )
        tokenizer = getattr(clip.tokenizer, getattr(clip.tokenizer, "clip", ""), None)
        model = getattr(clip.cond_stage_model, getattr(clip.cond_stage_model, "clip", ""), None)
        if not _is_clip(tokenizer) or not isinstance(model, comfy.sd1_clip.SDClipModel):
            raise ProductBackgroundError(
                f"This CLIP is of the kind {type(clip.cond_stage_model).__name__}. Category Conditioning accepts one "
                "CLIP text encoder, as Stable Diffusion 1.5 and the demonstration base have it."
            )
        self._clip, self._key = clip, clip.tokenizer.clip_name
        self.tokens = HostTokens(tokenizer)
        self.width = int(model.transformer.get_input_embeddings().weight.shape[1])

    def conditioning(self, prompt: Prompt, vectors: Tensor | None, strength: float) -> list[list[Any]]:
        """A CONDITIONING whose leak is closed and that carries its positions.

        `vectors` [vectors,width], or None for a scene in words. Of several entries (hooks with a schedule make them)
        each is closed with its own neutral run.
        """
        encode: Callable[[Any], list[Any]] = self._clip.encode_from_tokens_scheduled
        neutral = encode({self._key: prompt.neutral()})
        filled = encode({self._key: prompt.filled(vectors)})
        positions = prompt.groups[IDENTIFIER_GROUP]
        entries = []
        for (plain, values), (context, _) in zip(neutral, filled, strict=True):
            about = {
                "length": prompt.length,
                "groups": {name: list(places) for name, places in prompt.groups.items() if places},
                "strength": 1.0,  # of the masking: the identifier's own is in the context already
                "plain": plain,
            }
            closed = close_leak(context, plain, prompt.own, strength)
            entries.append([MarkedContext.mark(closed, positions), {**values, KEY: about}])
        return entries


def _is_clip(tokenizer: Any) -> bool:
    """Whether it makes chunks of one length between start and end tokens, as CLIP's does."""
    return (
        isinstance(tokenizer, comfy.sd1_clip.SDTokenizer)
        and tokenizer.start_token is not None
        and tokenizer.end_token is not None
        and tokenizer.pad_to_max_length
        and not tokenizer.pad_left
    )
