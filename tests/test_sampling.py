"""The suites' sampler against the host's formulation of the same one, in sigmas."""

from itertools import pairwise

import torch
from torch import Tensor

from bg_core.base import alphas_cumprod
from training.generate import noise_of
from training.sampling import euler_ancestral

SHAPE = (4, 3, 5)


def velocity_of(rows: Tensor, t: Tensor, context: Tensor) -> Tensor:
    """Some smooth function of everything that a network is given."""
    noisy, mask, masked = rows[:, :4], rows[:, 4:5], rows[:, 5:]
    return torch.tanh(noisy + 0.1 * mask - masked) + t.view(-1, 1, 1, 1) / 2000 + context.view(-1, 1, 1, 1)


def test_it_is_the_hosts_euler_ancestral():
    generator = torch.Generator().manual_seed(0)
    mask, masked = torch.ones(2, 1, 3, 5), torch.randn(2, *SHAPE, generator=generator)
    text, empty = torch.tensor([0.2, 0.4]), torch.zeros(2)
    sampled = euler_ancestral(velocity_of, noise_of((3, 9), SHAPE, 7), mask, masked, text, empty, 6, 3.0)

    alpha_bar = alphas_cumprod().float()
    times = torch.linspace(999, 0, 7).round().long()
    sigmas = [*((1 - alpha_bar) / alpha_bar).sqrt()[times[:-1]].double(), torch.zeros((), dtype=torch.float64)]
    noise = noise_of((3, 9), SHAPE, 7)
    x = noise().double() * sigmas[0]
    for (sigma, below), time in zip(pairwise(sigmas), times, strict=False):
        scale = (sigma**2 + 1).sqrt()

        def predicted(context: Tensor, x: Tensor = x, scale: Tensor = scale, time: Tensor = time) -> Tensor:
            rows = torch.cat([(x / scale).float(), mask, masked], dim=1)
            return velocity_of(rows, time.expand(2), context).double()

        v = predicted(empty) + 3.0 * (predicted(text) - predicted(empty))
        clean = x / scale**2 - v * sigma / scale
        up = (below**2 * (sigma**2 - below**2) / sigma**2).sqrt()
        down = (below**2 - up**2).sqrt()
        x = x + (x - clean) / sigma * (down - sigma)
        if below:
            x = x + noise().double() * up
    assert (sampled - x).abs().max() < 1e-3


def test_a_pictures_noise_is_its_own():
    together, alone = noise_of((3, 9), SHAPE, 7), noise_of((9,), SHAPE, 7)
    first, second = together(), together()
    assert torch.equal(first[1:], alone()) and torch.equal(second[1:], alone())
    assert not torch.equal(first, second)
    assert not torch.equal(first, noise_of((3, 9), SHAPE, 8)())
