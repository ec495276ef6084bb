"""Attention in regions against its definition in float64, and what must stay bit for bit."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bg_core.region_attention import (
    ALIGNMENT,
    EPS,
    attention_bias,
    attention_share,
    membership,
    region_attention,
    region_logits,
)


def by_definition(
    q: Tensor, k: Tensor, v: Tensor, heads: int, groups: list[list[tuple[list[int], Tensor, float]]]
) -> tuple[Tensor, list[list[Tensor]]]:
    """Row by row and head by head in float64: output [B,N,C] and, a row, the share of each group [N]."""
    q, k, v = q.double(), k.double(), v.double()
    d = q.shape[-1] // heads
    out, shares = torch.empty_like(q), []
    for row in range(len(q)):
        sums = [torch.zeros(q.shape[1], dtype=torch.float64) for _ in groups[row]]
        for head in range(heads):
            part = slice(head * d, (head + 1) * d)
            logits = q[row, :, part] @ k[row, :, part].T / d**0.5
            for places, region, strength in groups[row]:
                logits[:, places] += strength * region.double().clamp(min=EPS).log()[:, None]
            weights = logits.softmax(-1)
            out[row, :, part] = weights @ v[row, :, part]
            for total, (places, _, _) in zip(sums, groups[row], strict=True):
                total += weights[:, places].sum(-1) / heads
        shares.append(sums)
    return out, shares


def random_case(heads: int, places: int = 35, tokens: int = 77, width: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, places, heads * width), *torch.randn(2, 2, tokens, heads * width)
    return q * 2, k * 2, v


@pytest.mark.parametrize("heads", [1, 3, 8])
@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_rows_with_other_groups_and_regions(heads: int, strength: float) -> None:
    q, k, v = random_case(heads)
    hard, soft = (torch.rand(35) > 0.5).float(), torch.rand(35)
    groups = [[([5, 6, 7], hard, strength), ([2], 1 - soft, strength)], [([9, 30], soft, strength)]]
    logits = torch.zeros(2, 2, 35)
    members = torch.zeros(2, 2, 77)
    for row, entries in enumerate(groups):
        members[row, : len(entries)] = membership([places for places, _, _ in entries], 77)
        for group, (_, region, s) in enumerate(entries):
            logits[row, group] = region_logits(region, s)
    bias = attention_bias(logits, members)
    expected, shares = by_definition(q, k, v, heads, groups)
    torch.testing.assert_close(region_attention(q, k, v, heads, bias), expected.float(), atol=1e-5, rtol=1e-4)
    found = attention_share(q, k, heads, members, bias)
    for row, of_groups in enumerate(shares):
        for group, share in enumerate(of_groups):
            torch.testing.assert_close(found[row, group], share.float(), atol=1e-5, rtol=1e-4)
    assert not found[1, 1].any(), "a group that the second row hasn't"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 4e-3)])
def test_every_dtype(dtype: torch.dtype, tolerance: float) -> None:
    q, k, v = (t.to(dtype) for t in random_case(4))
    region = torch.rand(35)
    region[:10] = 0
    bias = attention_bias(region_logits(region)[None, None], membership([[3, 4]], 77), dtype)
    assert bias.dtype == dtype and bool(torch.isfinite(bias).all())
    out = region_attention(q, k, v, 4, bias)
    assert out.dtype == dtype
    expected, _ = by_definition(q, k, v, 4, [[([3, 4], region, 1.0)]] * 2)
    torch.testing.assert_close(out.double(), expected, atol=tolerance, rtol=tolerance)


def test_share_is_multiplied_as_the_region_says() -> None:
    """At strength 1 the odds of the group are the plain odds times the region; outside it gets nothing."""
    q, k, _ = random_case(1)
    region = torch.cat([torch.zeros(10), torch.full((10,), 0.5), torch.ones(15)])
    members = membership([[5, 6, 7]], 77)
    bias = attention_bias(region_logits(region)[None, None], members)
    plain, masked = (attention_share(q, k, 1, members, b)[:, 0] for b in (None, bias))
    assert plain[:, :10].mean() > 1e-3, "or there is nothing to hold back"
    assert masked[:, :10].max() < 1e-6
    odds, plain_odds = masked / (1 - masked), plain / (1 - plain)
    torch.testing.assert_close(odds[:, 10:20], plain_odds[:, 10:20] / 2, atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(odds[:, 20:], plain_odds[:, 20:], atol=1e-6, rtol=1e-3)


def test_share_changes_steadily_with_strength() -> None:
    q, k, _ = random_case(2)
    region = torch.full((35,), 0.3)
    members = membership([[5, 6, 7]], 77)
    shares = [
        float(attention_share(q, k, 2, members, attention_bias(region_logits(region, s)[None, None], members)).mean())
        for s in (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
    ]
    assert shares == sorted(shares, reverse=True) and shares[0] > 3 * shares[-1]


def test_no_bias_is_plain_attention_bit_for_bit() -> None:
    q, k, v = random_case(4)
    split = [t.view(2, -1, 4, 8).transpose(1, 2) for t in (q, k, v)]
    plain = F.scaled_dot_product_attention(*split).transpose(1, 2).reshape(2, 35, 32)
    assert torch.equal(region_attention(q, k, v, 4), plain)


def test_whole_regions_give_exactly_no_bias() -> None:
    averaged = torch.full((3,), 1 - 3e-7)  # what averaging ones leaves
    assert not region_logits(averaged, 2.0).any()
    assert not region_logits(torch.rand(5), 0.0).any()
    assert region_logits(torch.tensor(0.0), 1.0) < -18


def test_tokens_of_two_groups_get_both() -> None:
    region = torch.tensor([0.5, 0.25])
    bias = attention_bias(region_logits(region).expand(1, 2, 2), membership([[1], [1, 2]], 4))
    torch.testing.assert_close(bias[0, 0, :, 1], 2 * region.log())
    torch.testing.assert_close(bias[0, 0, :, 2], region.log())
    assert not bias[..., [0, 3]].any()


@pytest.mark.parametrize("tokens", [64, 77, 154])
def test_rows_of_the_bias_are_aligned(tokens: int) -> None:
    bias = attention_bias(torch.zeros(2, 1, 5), membership([[1]], tokens), torch.float16)
    assert bias.shape == (2, 1, 5, tokens) and bias.stride(-1) == 1
    assert all(stride % ALIGNMENT == 0 for stride in bias.stride()[:-1])


def test_gradients_reach_the_tokens_where_they_act_only() -> None:
    """Training through it: the identifier's key and value learn from places in its region, from others nothing."""
    torch.manual_seed(1)
    q, k, v = torch.randn(1, 6, 16), torch.randn(1, 9, 16), torch.randn(1, 9, 16)
    for tensor in (k, v):
        tensor.requires_grad_()
    region = torch.tensor([0.0, 0, 0, 1, 1, 1])
    bias = attention_bias(region_logits(region)[None, None], membership([[4]], 9))

    def gradient(places: slice) -> float:
        out = region_attention(q, k, v, 2, bias)[:, places]
        return sum(float(g[0, 4].abs().max()) for g in torch.autograd.grad(out.square().sum(), (k, v)))

    assert gradient(slice(0, 3)) < 1e-6 < 1e-2 < gradient(slice(3, 6))


def test_a_loss_on_the_share_can_be_learned() -> None:
    q, k, _ = random_case(2)
    k.requires_grad_()
    members = membership([[5]], 77)
    attention_share(q, k, 2, members).sum().backward()
    assert k.grad is not None and float(k.grad[:, 5].abs().max()) > 0
