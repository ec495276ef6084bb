"""The base's vocabulary: ComfyUI's own CLIP tokenizer, cut down to the words that the captions use.

ComfyUI feeds a checkpoint 49,408 possible token ids; a small caption language uses a few hundred. Training works on row
numbers of the trimmed embedding, the exporter stores which tokenizer id each row stands for, and the pack expands the
embedding when the checkpoint is loaded (`bg_core.checkpoint`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from bg_core.base import BOS, DEMONSTRATION, EOS, UNKNOWN
from bg_core.errors import ProductBackgroundError

POSITIONS = DEMONSTRATION.text_positions
"""Tokens a caption is padded to, BOS and at least one EOS included."""


def tokenizer_folder(comfyui: str | os.PathLike[str] | None = None) -> Path:
    """The folder of CLIP's vocabulary in a ComfyUI: the given one, $COMFYUI_PATH, or .cache/comfyui, in this order."""
    root = Path(comfyui or os.environ.get("COMFYUI_PATH") or Path(__file__).parent.parent / ".cache" / "comfyui")
    folder = root.expanduser() / "comfy" / "sd1_tokenizer"
    if not (folder / "vocab.json").is_file():
        raise ProductBackgroundError(
            f"No CLIP tokenizer at {folder}. Set COMFYUI_PATH to a ComfyUI folder, or run `make comfyui` once."
        )
    return folder


class ClipTokens:
    """The stock tokenizer without special tokens: a caption to its host ids."""

    def __init__(self, comfyui: str | os.PathLike[str] | None = None) -> None:
        from transformers import CLIPTokenizer  # slow to import, and the host's own choice of class

        self._tokenizer = CLIPTokenizer.from_pretrained(str(tokenizer_folder(comfyui)))
        self.ids = lru_cache(maxsize=100_000)(self._ids)  # captions repeat; the slow tokenizer takes 0.2 ms a word

    def _ids(self, caption: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(caption)["input_ids"][1:-1])


class Vocabulary:
    """Rows of a trimmed embedding: row 0 is the unknown word, the last two are BOS and EOS, ids ascend between them."""

    unknown = 0

    def __init__(self, host_ids: Sequence[int], tokens: ClipTokens | None = None) -> None:
        """`host_ids`: the tokenizer id of each row, as `to_tensor` gives them and checkpoints store them."""
        ids = tuple(int(i) for i in host_ids)
        if len(ids) < 3 or ids[0] != UNKNOWN or ids[-2:] != (BOS, EOS) or list(ids) != sorted(set(ids)):
            raise ProductBackgroundError(
                f"Bad vocabulary. Expected {UNKNOWN}, ascending tokenizer ids, then {BOS} and {EOS}."
            )
        self.host_ids = ids
        self._row = {host_id: row for row, host_id in enumerate(ids)}
        self._tokens = tokens

    @classmethod
    def from_captions(cls, captions: Iterable[str], tokens: ClipTokens | None = None) -> Vocabulary:
        """All tokens that occur in the captions."""
        tokens = tokens or ClipTokens()
        taught = {i for caption in set(captions) for i in tokens.ids(caption)} - {BOS, EOS}
        return cls([UNKNOWN, *sorted(taught), BOS, EOS], tokens)

    def __len__(self) -> int:
        return len(self.host_ids)

    @property
    def bos(self) -> int:
        return len(self) - 2

    @property
    def eos(self) -> int:
        return len(self) - 1

    def to_tensor(self) -> Tensor:
        """[len] int64, the tokenizer id of each row."""
        return torch.tensor(self.host_ids, dtype=torch.int64)

    def encode(self, captions: Sequence[str]) -> Tensor:
        """[B,77] int64 rows: BOS, the caption, EOS, padded with EOS, as ComfyUI pads SD 1.5 prompts.

        Words that were not taught become row 0. A caption of more than 75 tokens, which ComfyUI would split in two,
        is refused.
        """
        return torch.tensor([self._encode(caption) for caption in captions], dtype=torch.int64).view(-1, POSITIONS)

    def _encode(self, caption: str) -> list[int]:
        if self._tokens is None:
            self._tokens = ClipTokens()
        ids = self._tokens.ids(caption)
        if len(ids) > POSITIONS - 2:
            raise ProductBackgroundError(
                f"Caption too long. Expected at most {POSITIONS - 2} tokens, got {len(ids)}: {caption[:60]!r}..."
            )
        rows = [self.bos, *(self._row.get(i, self.unknown) for i in ids), self.eos]
        return rows + [self.eos] * (POSITIONS - len(rows))

    def drop_words(self, rows: Tensor, probability: float, generator: torch.Generator | None = None) -> Tensor:
        """Replace words of `rows` [B,77] by the unknown word at random: that teaches its row to be neutral."""
        chosen = torch.rand(rows.shape, generator=generator) < probability
        return torch.where(chosen.to(rows.device) & (rows < self.bos), self.unknown, rows)
