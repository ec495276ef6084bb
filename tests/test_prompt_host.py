"""Prompts through ComfyUI's own tokenizer and text encoder, and through transformers: the same tokens and contexts."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from bg_core.base import DEMONSTRATION
from bg_core.prompt import context_leak, tokenize
from bg_core.prompt_text import IDENTIFIER, TEMPLATE, parse
from training.prompts import PromptEncoder, TransformersTokens

WIDTH, VECTORS = DEMONSTRATION.context_width, 4
LONG = "a small round wooden table near a wide window with linen curtains and soft morning light, " * 7
TEXTS = {
    "paper": TEMPLATE,
    "identifier first": "{identifier} behind {category}",
    "weights": "a ((photo)) of ({category}:1.4), in the background of ({identifier}:0.6), (marble:1.2)",
    "two chunks": LONG + TEMPLATE,
    "long behind": TEMPLATE + ", " + LONG,
    "embedding": "embedding:style, a photo of {category} (on embedding:style {identifier}:1.2) blue",
    "twice": "{identifier}, {category}, {identifier}",
}


@pytest.fixture(scope="module")
def styled(loaded: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The random base with one textual inversion at hand, in the host and in transformers."""
    torch.manual_seed(7)
    folder = tmp_path_factory.mktemp("embeddings")
    style = torch.randn(2, WIDTH) * 0.1
    save_file({"emb_params": style}, folder / "style.safetensors")
    clip = loaded.clip.clone()
    tokenizer = clip.tokenizer.clip_l
    tokenizer.embedding_directory, before = [str(folder)], tokenizer.embedding_directory
    text = loaded.base.text
    rounded = type(text)(text.config)
    # the host keeps the text encoder in half precision
    rounded.load_state_dict({k: v.half().float() for k, v in text.state_dict().items()})
    encoder = PromptEncoder(rounded.eval(), loaded.base.vocabulary, TransformersTokens(embeddings={"style": style}))
    yield SimpleNamespace(clip=clip, encoder=encoder)
    tokenizer.embedding_directory = before


@pytest.fixture(scope="module")
def module(comfyui: Path) -> ModuleType:
    return importlib.import_module("product_background.nodes.text_encoder")


@pytest.fixture(scope="module")
def host(module: ModuleType, styled: SimpleNamespace) -> Any:
    return module.TextEncoder(styled.clip)


def same_tokens(one: Any, other: Any) -> bool:
    """Of chunks of (token or tensor, weight)."""
    if [len(chunk) for chunk in one] != [len(chunk) for chunk in other]:
        return False
    pairs = [(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)]
    return all(a[1] == b[1] and (torch.equal(a[0], b[0]) if torch.is_tensor(a[0]) else a[0] == b[0]) for a, b in pairs)


PARTS = (
    *"()):.,\\",
    *(
        "(",
        ":1.2)",
        "\\(",
        "\\)",
        " ",
        "\n",
        "mug",
        " oak's",
        " 12",
        "é",
        " 桌子",
        " soft light from the wide left window",
    ),
    *(" embedding:style", "embedding:style,", " embedding:lost", " embedding: style"),
)
WRITTEN = st.lists(st.sampled_from(PARTS), max_size=60)


@given(WRITTEN)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_without_an_identifier_the_tokens_are_the_hosts(styled: SimpleNamespace, host: Any, parts: list[str]) -> None:
    """Whatever the user writes: brackets, escapes, embeddings, several chunks."""
    text = "".join(parts)
    expected = styled.clip.tokenize(text)["l"]
    # an identifier of no vectors leaves no token behind
    ours = tokenize(parse(IDENTIFIER + text, "a mug"), host.tokens, 0, WIDTH).neutral()
    assert same_tokens(ours, expected)


@pytest.mark.parametrize("name", TEXTS)
def test_an_identifier_stands_where_the_host_puts_an_embedding(
    styled: SimpleNamespace, host: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = torch.randn(VECTORS, WIDTH)
    tokenizer = styled.clip.tokenizer.clip_l
    known = tokenizer._try_get_embedding

    def with_ours(text: str) -> Any:
        head, _, rest = text.partition(" ")
        return (vectors, rest.strip()) if head.startswith("ours") else known(text)

    monkeypatch.setattr(tokenizer, "_try_get_embedding", with_ours)
    spelled = TEXTS[name].replace(IDENTIFIER, " embedding:ours ").replace("{category}", "a mug")
    prompt = tokenize(parse(TEXTS[name], "a mug"), host.tokens, VECTORS, WIDTH)
    assert same_tokens(prompt.filled(vectors), styled.clip.tokenize(spelled)["l"])


@pytest.mark.parametrize("scene", [None, "an oak table, soft light from the left"])
@pytest.mark.parametrize("name", TEXTS)
def test_host_and_transformers_agree(styled: SimpleNamespace, host: Any, name: str, scene: str | None) -> None:
    torch.manual_seed(0)
    vectors = None if scene else torch.randn(VECTORS, WIDTH) * 0.1
    prompt = tokenize(parse(TEXTS[name], "a mug", scene), host.tokens, 0 if scene else VECTORS, WIDTH)
    ours = styled.encoder.prompt("a mug", VECTORS, TEXTS[name], scene)
    assert ours.groups == prompt.groups and ours.length == prompt.length
    with torch.no_grad():
        expected = styled.encoder.contexts([ours], None if vectors is None else vectors[None])
    ((context, values),) = host.conditioning(prompt, vectors, 1.0)
    about = values["product_background"]
    assert about["length"] == context.shape[1] == prompt.length
    assert about["groups"] == {name: places for name, places in prompt.groups.items() if places}
    torch.testing.assert_close(torch.Tensor(context.plain()), expected, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(about["plain"], styled.encoder.neutral([ours]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_but_the_identifiers_own_tokens_knows_which_one_stands_there(host: Any, name: str) -> None:
    prompt = tokenize(parse(TEXTS[name], "a mug"), host.tokens, VECTORS, WIDTH)
    torch.manual_seed(1)
    runs = [host.conditioning(prompt, torch.randn(VECTORS, WIDTH), 1.0)[0] for _ in range(2)]
    (one, first), (other, second) = ((context.plain(), values) for context, values in runs)
    own = prompt.own
    assert torch.equal(one[:, ~own], other[:, ~own])
    assert not torch.equal(one[:, own], other[:, own])
    assert torch.equal(first["product_background"]["plain"][:, ~own], one[:, ~own])
    for key in ("pooled_output",):
        assert torch.equal(first[key], second[key])


def test_the_leak_is_there_until_it_is_closed(styled: SimpleNamespace) -> None:
    encoder = styled.encoder
    prompt = encoder.prompt("a mug", VECTORS, TEMPLATE + ", soft light")
    torch.manual_seed(2)
    pool = [torch.randn(1, VECTORS, WIDTH) * 0.1 for _ in range(8)]
    with torch.no_grad():
        whole = [encoder._encode([prompt.filled(vectors[0])], 77) for vectors in pool]
        closed = [encoder.contexts([prompt], vectors) for vectors in pool]
    assert context_leak(whole, prompt.own) > 0.01
    assert context_leak(closed, prompt.own) == 0.0


def test_strength_goes_from_the_neutral_word_to_the_identifier(host: Any) -> None:
    prompt = tokenize(parse(TEMPLATE, "a mug"), host.tokens, VECTORS, WIDTH)
    vectors = torch.randn(VECTORS, WIDTH)
    at = {s: host.conditioning(prompt, vectors, s)[0] for s in (0.0, 0.5, 1.0)}
    plain = at[0.0][1]["product_background"]["plain"]
    assert torch.equal(at[0.0][0].plain(), plain)
    torch.testing.assert_close(at[0.5][0].plain(), (at[1.0][0].plain() + plain) / 2)


def test_gradients_reach_the_identifier_and_nothing_else_moves_it(styled: SimpleNamespace) -> None:
    encoder = styled.encoder
    prompts = [encoder.prompt("a mug", VECTORS), encoder.prompt("a wine bottle", VECTORS)]
    vectors = torch.randn(2, VECTORS, WIDTH, requires_grad=True)
    neutral = encoder.neutral(prompts).detach()
    contexts = encoder.contexts(prompts, vectors, neutral)
    own = torch.stack([prompt.own for prompt in prompts])
    behind = ~own
    assert torch.equal(contexts[behind], neutral[behind])
    contexts[0].square().sum().backward()
    assert bool((vectors.grad[0].abs().sum(-1) > 0).all()) and not vectors.grad[1].any()
    with torch.no_grad():
        alone = encoder.contexts(prompts[1:], vectors[1:])
    torch.testing.assert_close(contexts[1:], alone, atol=1e-5, rtol=1e-4)


def test_a_short_prompt_beside_a_long_negative_keeps_its_positions(styled: SimpleNamespace, host: Any) -> None:
    """The host repeats the shorter context to the common length; every repetition has the identifier at its places."""
    import comfy.conds

    prompt = tokenize(parse(TEMPLATE, "a mug"), host.tokens, VECTORS, WIDTH)
    ((context, values),) = host.conditioning(prompt, torch.randn(VECTORS, WIDTH), 1.0)
    negative = styled.clip.encode_from_tokens_scheduled(styled.clip.tokenize(LONG))[0][0]
    assert negative.shape[1] == 154
    positive = comfy.conds.CONDCrossAttn(context)
    assert positive.can_concat(comfy.conds.CONDCrossAttn(negative))
    both = positive.concat([comfy.conds.CONDCrossAttn(negative)])
    assert type(both) is torch.Tensor and both.shape[1] == 154
    length = values["product_background"]["length"]
    for start in range(0, 154, length):
        assert torch.equal(both[0, start : start + length], context.plain()[0])


def test_other_text_encoders_are_refused_by_name(module: ModuleType, comfyui: Path) -> None:
    from comfy.sdxl_clip import SDXLTokenizer

    class SDXL:
        tokenizer = SDXLTokenizer()
        cond_stage_model = SimpleNamespace()

    with pytest.raises(ValueError, match=r"SimpleNamespace.*Stable Diffusion 1\.5"):
        module.TextEncoder(SDXL())
    with pytest.raises(ValueError, match="no CLIP"):
        module.TextEncoder(None)


def test_each_entry_of_a_schedule_is_closed_with_its_own_neutral_run(
    module: ModuleType, styled: SimpleNamespace
) -> None:
    """LoRA hooks with a schedule on the CLIP make several entries of one text."""

    class Scheduled:
        tokenizer, cond_stage_model = styled.clip.tokenizer, styled.clip.cond_stage_model

        def encode_from_tokens_scheduled(self, tokens: Any) -> Any:
            ((context, values),) = styled.clip.encode_from_tokens_scheduled(tokens)
            return [[context * (1 + i), values | {"clip_start_percent": i / 2}] for i in range(2)]

    encoder = module.TextEncoder(Scheduled())
    prompt = tokenize(parse(TEMPLATE, "a mug"), encoder.tokens, VECTORS, WIDTH)
    (first, values), (second, later) = encoder.conditioning(prompt, torch.randn(VECTORS, WIDTH), 1.0)
    assert torch.equal(second.plain(), first.plain() * 2)
    assert (values["clip_start_percent"], later["clip_start_percent"]) == (0, 0.5)
    about = values["product_background"], later["product_background"]
    assert torch.equal(about[1]["plain"], about[0]["plain"] * 2) and about[0]["groups"] == about[1]["groups"]
