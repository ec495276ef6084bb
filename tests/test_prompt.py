"""Prompts to tokens: places by construction, ComfyUI's chunks, and the same in transformers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bg_core.errors import ProductBackgroundError
from bg_core.prompt import close_leak, tokenize
from bg_core.prompt_text import TEMPLATE, Identifier, Words, parse, weighted_segments
from training.prompts import TransformersTokens

WIDTH, VECTORS = 16, 3
LONG = "a small round wooden table near a wide window with linen curtains and soft morning light, " * 6


@pytest.fixture(scope="module")
def tokens() -> TransformersTokens:
    return TransformersTokens(embeddings={"style": torch.ones(2, WIDTH), "wide": torch.ones(WIDTH + 1)})


def prompt_of(tokens, template, category="a mug", scene=None, vectors=VECTORS):
    return tokenize(parse(template, category, scene), tokens, 0 if scene is not None else vectors, WIDTH)


def text_at(prompt, tokens, group):
    ids = [token for chunk in prompt.filled(None) for token, _ in chunk]
    return tokens._clip._tokenizer.decode([ids[position] for position in prompt.groups[group]]).strip()


def test_positions_of_the_papers_own_text(tokens: TransformersTokens) -> None:
    prompt = prompt_of(tokens, TEMPLATE)
    # start, a, photo, of, A, MUG, ",", in, the, background, of, IDENTIFIER x 3, end
    assert prompt.groups == {"product": [4, 5], "identifier": [11, 12, 13]}
    assert prompt.slots == [(11, 0), (12, 1), (13, 2)]
    assert prompt.length == 77
    vectors = torch.randn(VECTORS, WIDTH)
    filled = prompt.filled(vectors)[0]
    assert [torch.equal(filled[11 + i][0], vectors[i]) for i in range(3)] == [True] * 3
    assert filled[14][0] == tokens.end


@pytest.mark.parametrize(
    ("template", "product"),
    [
        ("{identifier} {category}", "a mug"),
        ("two {category}s on {identifier}", "a mugs"),
        ("{category}'s place: {identifier}", "a mug"),
        ("({category}:1.3), ({identifier}:0.7)", "a mug"),
        ("pre{category}, {identifier}.", "prea mug"),
        ("{category}{identifier}{category}", "a mug a mug"),
        ("nothing but {identifier}", ""),
    ],
)
def test_product_words_are_whole_words(tokens: TransformersTokens, template: str, product: str) -> None:
    prompt = prompt_of(tokens, template)
    assert text_at(prompt, tokens, "product") == product
    assert len(prompt.groups["identifier"]) == VECTORS


def test_every_identifier_counts(tokens: TransformersTokens) -> None:
    prompt = prompt_of(tokens, "{identifier}, {category}, {identifier}")
    assert [number for _, number in prompt.slots] == [0, 1, 2, 0, 1, 2]
    assert len(prompt.groups["identifier"]) == 6


def test_text_without_identifier_is_refused() -> None:
    with pytest.raises(ProductBackgroundError, match=r"no \{identifier\}.*for example"):
        parse("a photo of {category}", "a mug")


def test_brackets_escapes_and_what_stands_for_the_category_are_told_apart(tokens: TransformersTokens) -> None:
    plain = prompt_of(tokens, r"\(a\) (b:1.5) {identifier} {category}", category="mug (large:9) embedding:style")
    weights = {weight for chunk in plain.chunks for _, weight in chunk}
    assert weights == {1.0, 1.5}
    assert text_at(plain, tokens, "product").replace(" ", "") == "mug(large:9)embedding:style"


@pytest.mark.parametrize("before", range(50, 80))
def test_identifier_is_never_cut(tokens: TransformersTokens, before: int) -> None:
    """Nine vectors: ComfyUI itself would cut a group of eight tokens and more."""
    prompt = prompt_of(tokens, "word " * before + "{identifier} and {category}", vectors=9)
    places = prompt.groups["identifier"]
    assert places == list(range(places[0], places[0] + 9))
    assert places[0] // 77 == places[-1] // 77
    assert all(chunk[0][0] == tokens.start and len(chunk) == 77 for chunk in prompt.chunks)
    count = sum(token not in (tokens.start, tokens.end) for chunk in prompt.chunks for token, _ in chunk)
    assert count == before + 9 + 1 + 2


def test_too_many_vectors(tokens: TransformersTokens) -> None:
    assert len(prompt_of(tokens, "{identifier}", vectors=75).groups["identifier"]) == 75
    with pytest.raises(ProductBackgroundError, match=r"76 vectors.*room for 75"):
        prompt_of(tokens, "{identifier}", vectors=76)


def test_embeddings(tokens: TransformersTokens, caplog: pytest.LogCaptureFixture) -> None:
    prompt = prompt_of(tokens, "x embedding:style, y {identifier} embedding:wide z embedding:lost")
    assert [place for place, (token, _) in enumerate(prompt.chunks[0]) if torch.is_tensor(token)] == [2, 3]
    assert prompt.groups["identifier"] == [6, 7, 8]
    assert "wide is 17 wide, not 16" in caplog.text and "lost is not there" in caplog.text


def test_scene_in_words(tokens: TransformersTokens) -> None:
    prompt = prompt_of(tokens, TEMPLATE, scene="an oak table, soft light")
    assert text_at(prompt, tokens, "identifier") == "an oak table , soft light"
    neutral = [token for token, _ in prompt.neutral()[0]]
    assert {neutral[position] for position in prompt.groups["identifier"]} == set(tokens.ids("*"))


@given(st.text(alphabet="ab (:)1.5\\{}", max_size=24))
@settings(max_examples=300, deadline=None)
def test_brackets_lose_no_text(text: str) -> None:
    """What is between brackets and isn't a weight comes out again, in order."""
    letters = "".join(part for part, _ in weighted_segments(text))
    assert [char for char in letters if char == "a"] == [char for char in text if char == "a"]


def test_pieces_keep_their_order() -> None:
    pieces = parse("a (b {identifier}:1.2) c", "x")
    assert [type(piece) for piece in pieces] == [Words, Words, Identifier, Words]
    assert [piece.weight for piece in pieces] == [1.0, 1.2, 1.2, 1.0]


def test_closing_the_leak_takes_the_identifiers_places_only() -> None:
    filled, neutral = torch.randn(2, 5, 4, requires_grad=True), torch.randn(2, 5, 4)
    own = torch.tensor([[False, True, False, False, False], [False, False, True, True, False]])
    closed = close_leak(filled, neutral, own)
    assert torch.equal(closed[own], filled[own]) and torch.equal(closed[~own], neutral[~own])
    closed.sum().backward()
    assert torch.equal(filled.grad != 0, own[..., None].expand_as(filled))
    assert torch.equal(close_leak(filled, neutral, own, 0.0), neutral)
    half = close_leak(filled, neutral, own, 0.5)[own]
    torch.testing.assert_close(half, (filled[own] + neutral[own]) / 2)
