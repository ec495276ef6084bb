"""Pictures by the demonstration base, sampled as the protocol says: what suites score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from tqdm import tqdm

from bg_core.base import grey_out, mask_channel
from bg_core.composite import composite_product

from .export import Base
from .kept import remembered
from .protocol import Protocol
from .sampling import Noise, euler_ancestral


def pasted(background: Tensor, pictures: Tensor, masks: Tensor) -> Tensor:
    """Products of `pictures` [N,3,H,W] on `background`, in [0,1], as uint8, by what Composite Product does.

    It ends every graph: what is judged is what users get, without the rim that the decoder blurs into the background.
    """
    behind, canvas = (t.movedim(1, -1).clamp(0, 1) for t in (background, pictures))
    finished = composite_product(behind, canvas, masks[:, 0]).movedim(-1, 1)
    return (finished.contiguous() * 255).round().byte()


def noise_of(pictures: Iterable[int], shape: Sequence[int], seed: int) -> Noise:
    """[N,*shape] at every call; what picture i gets depends on i and `seed` alone: arms are compared on equal noise."""
    drawing = [torch.Generator().manual_seed(seed * 1_000_003 + i) for i in pictures]
    return lambda: torch.stack([torch.randn(*shape, generator=generator) for generator in drawing])


def generate(
    base: Base, protocol: Protocol, pictures: Tensor, masks: Tensor, captions: Sequence[str], batch: int = 16
) -> Tensor:
    """A new background by caption for each product; pictures [N,3,H,W] and masks [N,1,H,W] uint8, result likewise."""

    def painted(start: int) -> Tensor:
        image, mask = (t[start : start + batch].float() / 255 for t in (pictures, masks))
        masked = base.autoencoder.encode(grey_out(image, 1 - mask))
        where = mask_channel(1 - mask, *masked.shape[-2:])
        latents = euler_ancestral(
            lambda x, t, context: base.unet(x, t, context).sample,
            noise_of(range(start, start + len(image)), masked.shape[1:], protocol.seed),
            where,
            masked,
            _context(base, captions[start : start + batch]),
            _context(base, [""] * len(image)),
            protocol.steps,
            protocol.guidance,
        )
        return pasted(base.autoencoder.decode(latents), image, mask)

    def shared() -> list[object]:
        return [base.unet, base.text, base.autoencoder, base.vocabulary.host_ids, protocol.sampling]

    def own(start: int) -> list[object]:
        return [list(captions[start : start + batch]), *(t[start : start + batch] for t in (pictures, masks))]

    return torch.cat(on_cores(remembered(painted, shared, own), range(0, len(pictures), batch)))


def on_cores(
    work: Callable[[int], Tensor], starts: Sequence[int], said: str = "sampling", cores: int | None = None
) -> list[Tensor]:
    """`work` for each batch, with a progress bar, without gradients.

    On a CPU each batch has a core of its own, which is a sixth faster than sharing every single operation; with `cores`
    1 they come one after the other.
    """
    threads = torch.get_num_threads()
    cores = threads if cores is None else cores
    torch.set_num_threads(threads // cores)
    try:
        with ThreadPoolExecutor(cores) as pool:
            done = pool.map(torch.no_grad()(work), starts)  # which every thread has to say for itself
            return list(tqdm(done, said, len(starts), unit="batch", mininterval=5, disable=len(starts) < 2))
    finally:
        torch.set_num_threads(threads)


def reconstruct(base: Base, pictures: Tensor, batch: int = 16) -> Tensor:
    """`pictures` uint8 through the autoencoder, uint8: the best that the base could paint."""

    def through(start: int) -> Tensor:
        image = pictures[start : start + batch].float() / 255
        decoded = base.autoencoder.decode(base.autoencoder.encode(image))
        return (decoded.clamp(0, 1) * 255).round().byte()

    return torch.cat(on_cores(through, range(0, len(pictures), batch), "through the autoencoder"))


def _context(base: Base, captions: Sequence[str]) -> Tensor:
    return base.text(base.vocabulary.encode(captions)).last_hidden_state
