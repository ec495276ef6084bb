"""Ways to compute attention in regions, against each other and against plain attention: which one the pack uses.

    python -m tests.drills.attention_kernels [--rounds 30] [--threads 2] [--dtype float32] [--record FILE]

Every candidate computes the same thing, which is checked first: conditional rows whose group of tokens acts in a binary
region, beside as many unconditional rows, as a sampler runs them. Shapes are those of a whole UNet pass, each as often
as the UNet has such layers. The candidates take turns, in another order every round; a candidate's figure is the median
over the rounds of its time divided by plain attention's in the same round.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from bg_core.region_attention import attention_bias, membership, region_attention, region_logits
from scripts.comfyui import comfyui_path

from .servers import record

TOKENS = 77
GROUP = [9, 10, 11, 12]


@dataclass(frozen=True)
class Layer:
    """So many layers of height x width places with `heads` of `width_of_head` channels."""

    count: int
    side: int
    heads: int
    width_of_head: int


MODELS = {
    "sd15_512": (Layer(5, 64, 8, 40), Layer(5, 32, 8, 80), Layer(5, 16, 8, 160), Layer(1, 8, 8, 160)),
    "demonstration_192": (Layer(5, 24, 2, 32), Layer(5, 12, 4, 32), Layer(1, 6, 8, 32)),
}


class Case:
    """Tensors of one kind of layer: `batch` conditional rows first, as many unconditional after them."""

    def __init__(self, layer: Layer, batch: int, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.layer, self.batch = layer, batch
        places, channels = layer.side**2, layer.heads * layer.width_of_head
        self.q = torch.randn(2 * batch, places, channels).to(dtype)
        self.k, self.v = (torch.randn(2 * batch, TOKENS, channels).to(dtype) for _ in range(2))
        region = torch.ones(layer.side, layer.side)
        region[layer.side // 4 : layer.side * 3 // 4, layer.side // 4 : layer.side * 3 // 4] = 0  # a quarter of it
        self.logits = region_logits(region.flatten())
        self.members = membership([GROUP], TOKENS)
        self.bias = attention_bias(self.logits[None, None], self.members, dtype)
        whole = torch.cat([self.logits.expand(batch, 1, -1), torch.zeros(batch, 1, places)])
        self.bias_of_all = attention_bias(whole, self.members, dtype)
        self.unaligned = self.bias.contiguous()
        self.outside, self.inside = (torch.nonzero(region.flatten() == value)[:, 0] for value in (1, 0))
        self.others = torch.tensor([i for i in range(TOKENS) if i not in GROUP])
        self.place_column = (self.logits * layer.width_of_head**0.5)[None, :, None].to(dtype)
        self.token_column = self.members[0][None, :, None].to(dtype)


def plain(case: Case) -> Tensor:
    return region_attention(case.q, case.k, case.v, case.layer.heads)


def bias_on_its_rows(case: Case) -> Tensor:
    """A cached bias [1,1,N,M] on the conditional rows, the others plain."""
    n, heads = case.batch, case.layer.heads
    guided = region_attention(case.q[:n], case.k[:n], case.v[:n], heads, case.bias)
    return torch.cat([guided, region_attention(case.q[n:], case.k[n:], case.v[n:], heads)])


def bias_unaligned(case: Case) -> Tensor:
    """The same with rows of 77 numbers one after the other."""
    n, heads = case.batch, case.layer.heads
    guided = region_attention(case.q[:n], case.k[:n], case.v[:n], heads, case.unaligned)
    return torch.cat([guided, region_attention(case.q[n:], case.k[n:], case.v[n:], heads)])


def bias_on_all_rows(case: Case) -> Tensor:
    """A cached bias [B,1,N,M], zeros for the unconditional rows, in one call."""
    return region_attention(case.q, case.k, case.v, case.layer.heads, case.bias_of_all)


def split_rows(case: Case) -> Tensor:
    """Binary regions only: places outside attend to the tokens without the group, places inside to all."""
    n, heads = case.batch, case.layer.heads
    q, k, v = case.q[:n], case.k[:n], case.v[:n]
    out = torch.empty_like(case.q)
    out[n:] = region_attention(case.q[n:], case.k[n:], case.v[n:], heads)
    guided = out[:n]
    guided[:, case.outside] = region_attention(q[:, case.outside], k, v, heads)
    guided[:, case.inside] = region_attention(q[:, case.inside], k[:, case.others], v[:, case.others], heads)
    return out


def further_dimension(case: Case) -> Tensor:
    """FlashBias (arXiv 2505.12044): the bias is an inner product, so it may ride in 8 more channels of q and k."""
    n, heads, width = case.batch, case.layer.heads, case.layer.width_of_head
    q, k, v = (t[:n].unflatten(-1, (heads, -1)).transpose(1, 2) for t in (case.q, case.k, case.v))
    places, tokens = (F.pad(c, (0, 7))[:, None] for c in (case.place_column, case.token_column))
    q = torch.cat([q, places.expand(n, heads, -1, -1)], -1)
    k = torch.cat([k, tokens.expand(n, heads, -1, -1)], -1)
    out = F.scaled_dot_product_attention(q, k, F.pad(v, (0, 8)), scale=width**-0.5)[..., :width]
    guided = out.transpose(1, 2).flatten(2)
    return torch.cat([guided, region_attention(case.q[n:], case.k[n:], case.v[n:], heads)])


def host_functions() -> dict[str, Callable[[Case], Tensor]]:
    """ComfyUI's own attention on a CPU, without and with the bias as its mask."""
    sys.path.append(str(comfyui_path()))
    from comfy.cli_args import args

    args.cpu = True
    from comfy.ldm.modules.attention import attention_sub_quad

    def with_mask(case: Case) -> Tensor:
        n, heads = case.batch, case.layer.heads
        guided = attention_sub_quad(case.q[:n], case.k[:n], case.v[:n], heads, mask=case.bias[0])
        return torch.cat([guided, attention_sub_quad(case.q[n:], case.k[n:], case.v[n:], heads)])

    def stock_then_bias(case: Case) -> Tensor:
        n, heads = case.batch, case.layer.heads
        guided = region_attention(case.q[:n], case.k[:n], case.v[:n], heads, case.bias)
        return torch.cat([guided, attention_sub_quad(case.q[n:], case.k[n:], case.v[n:], heads)])

    return {
        "host_sub_quad_plain": lambda case: attention_sub_quad(case.q, case.k, case.v, case.layer.heads),
        "host_sub_quad_with_mask": with_mask,
        "host_sub_quad_plain_rows_and_bias_on_its_rows": stock_then_bias,
    }


CANDIDATES: dict[str, Callable[[Case], Tensor]] = {
    "plain": plain,
    "bias_on_its_rows": bias_on_its_rows,
    "bias_unaligned": bias_unaligned,
    "bias_on_all_rows": bias_on_all_rows,
    "split_rows": split_rows,
    "further_dimension": further_dimension,
}


def check(cases: list[Case], candidates: dict[str, Callable[[Case], Tensor]]) -> None:
    for case in cases:
        tolerance = 1e-4 if case.q.dtype == torch.float32 else 5e-2
        for name, candidate in candidates.items():
            expected = plain(case) if name.endswith("plain") else bias_on_all_rows(case)
            torch.testing.assert_close(candidate(case), expected, atol=tolerance, rtol=tolerance, msg=name)


def seconds(cases: list[Case], candidate: Callable[[Case], Tensor]) -> float:
    """Of one pass through all layers."""
    began = time.perf_counter()
    for case in cases:
        for _ in range(case.layer.count):
            candidate(case)
    return time.perf_counter() - began


def measure(cases: list[Case], candidates: dict[str, Callable[[Case], Tensor]], rounds: int) -> dict[str, list[float]]:
    order, found = list(candidates), {name: list[float]() for name in candidates}
    shuffle = random.Random(0)
    for round_ in range(rounds + 2):
        shuffle.shuffle(order)
        for name in order:
            took = seconds(cases, candidates[name])
            if round_ >= 2:  # the first rounds warm caches up
                found[name].append(took)
    return found


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--model", choices=list(MODELS), action="append")
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    candidates = CANDIDATES | host_functions()
    figures: dict[str, float] = {}
    for model in arguments.model or list(MODELS):
        cases = [Case(layer, arguments.batch, getattr(torch, arguments.dtype)) for layer in MODELS[model]]
        check(cases, candidates)
        found = measure(cases, candidates, arguments.rounds)
        print(f"{model}, batch {arguments.batch}, {arguments.dtype}, {arguments.threads} threads")
        for name, times in sorted(found.items(), key=lambda entry: statistics.median(entry[1])):
            ratio = statistics.median(t / p for t, p in zip(times, found["plain"], strict=True))
            print(f"  {name:46} {statistics.median(times) * 1e3:8.2f} ms   {ratio:.3f} of plain")
            key = f"attention_{model}_{arguments.dtype}_{name}"
            figures |= {f"{key}_ms": round(statistics.median(times) * 1e3, 3), f"{key}_ratio": round(ratio, 4)}
    if arguments.record:
        record(arguments.record, figures)


if __name__ == "__main__":
    main()
