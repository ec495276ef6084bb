"""Muon: momentum whose every matrix is made orthogonal before it is subtracted (Jordan et al. 2024).

A plain gradient of a convolution has a few strong directions and hundreds of weak ones; orthogonalised, all of them
learn at one pace. It halves the steps that the autoencoder needs, and the evaluators know after 200 what Adam teaches
them in 1,000.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import Parameter

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration: steepest at zero, singular values end within about 0.7 to 1.2."""


def orthogonalised(matrix: Tensor, iterations: int = 5) -> Tensor:
    """[m,n] with nearly all singular values near 1, the singular vectors being those of `matrix`.

    Every iteration multiplies by a polynomial of the Gram matrix from the left, and those commute. So they are
    multiplied among themselves, in the smaller of m and n squared, and meet `matrix` once: for a 3x3 convolution a
    third of the work.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    gram = x @ x.T
    product: Tensor | None = None
    for left in reversed(range(iterations)):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        if left:
            gram = factor @ gram @ factor
    if product is not None:
        x = product @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for weights of two or more dimensions (the first against the rest), Adam for vectors.

    An update's root mean square is 0.2 of the learning rate, Adam's usual size, so the rates of Adam serve.
    """

    def __init__(self, parameters: Iterable[Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "betas": (0.9, 0.99)})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:
        assert closure is None
        due = [(p, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        for parameter, _ in due:
            self.state[parameter]  # made here: the dictionary isn't for several threads
        # matrices are small for several cores to share one, so each core takes its own
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._update, due))

    @torch.no_grad()
    def _update(self, due: tuple[Parameter, dict]) -> None:
        parameter, group = due
        update = self._matrix_update if parameter.ndim >= 2 else self._vector_update
        parameter.sub_(update(parameter, group), alpha=group["lr"])

    def _matrix_update(self, parameter: Parameter, group: dict) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        gradient, momentum = parameter.grad, state["momentum"]
        momentum.lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(momentum, group["momentum"])  # Nesterov
        # rows as they lie in memory: the order of columns is nothing to the singular values, and copies cost time
        last = ahead.ndim == 4 and ahead.is_contiguous(memory_format=torch.channels_last)
        rows = ahead.movedim(1, -1) if last else ahead
        matrix = orthogonalised(rows.reshape(len(rows), -1))
        update = matrix.mul_(0.2 * max(matrix.shape) ** 0.5).view(rows.shape)
        return update.movedim(-1, 1) if last else update

    def _vector_update(self, parameter: Parameter, group: dict) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        first, second = group["betas"]
        state["exp_avg"].lerp_(parameter.grad, 1 - first)
        state["exp_avg_sq"].lerp_(parameter.grad**2, 1 - second)
        step = float(state["step"])
        variance = state["exp_avg_sq"] / (1 - second**step)
        return state["exp_avg"] / (1 - first**step) / (variance.sqrt() + 1e-8)
