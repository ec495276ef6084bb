"""What a scene is made of is decided before Blender is asked, so it is tested without Blender."""

from collections import Counter, defaultdict
from functools import lru_cache
from itertools import combinations

import pytest

from training.framing import mirrored
from training.render.catalog import (
    ARRANGEMENTS,
    BOUND_PROPS,
    DENSITIES,
    INDOOR_LIGHTS,
    LENSES,
    LIGHTS,
    OUTDOORS,
    PALETTE,
    PROPS,
    RIGS,
    SURFACES,
    VIEWS,
    WALLS,
)
from training.render.categories import CATEGORIES
from training.render.recipe import Recipe, category_of, draw_recipe, draw_reference, held_out_combination
from training.train_base import vocabulary

SEEDS = range(4992)  # 104 scenes of each category
SCENE = ("surface", "wall", "palette", "accent", "light", "rig", "depth_of_field", "lens_kind", "view")


@lru_cache
def recipes(half: str = "generic", held_out: bool = False) -> list[Recipe]:
    return [draw_recipe(seed, half, held_out) for seed in SEEDS]


def assert_independent(pairs: list[tuple[str, str]], what: str) -> None:
    """Chi-squared of the two columns stays near its degrees of freedom."""
    rows, columns = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    table, n = Counter(pairs), len(pairs)
    chi = sum((table[a, b] - i * j / n) ** 2 / (i * j / n) for a, i in rows.items() for b, j in columns.items())
    freedom = (len(rows) - 1) * (len(columns) - 1)
    assert chi < freedom + 4 * (2 * freedom) ** 0.5, what


def test_a_seed_always_draws_the_same_scene():
    assert draw_recipe(17) == draw_recipe(17)
    assert draw_recipe(17) != draw_recipe(17 + len(CATEGORIES))


@pytest.mark.parametrize("first", [0, 7, 200_000])
def test_any_range_of_seeds_is_balanced(first: int):
    counts = Counter(category_of(seed) for seed in range(first, first + 3 * len(CATEGORIES) + 5))
    assert set(counts) == set(CATEGORIES) and set(counts.values()) == {3, 4}


def test_a_generic_scene_tells_nothing_of_the_category():
    drawn = recipes()
    for factor in SCENE:
        assert_independent([(r.product.category, getattr(r.style, factor)) for r in drawn], factor)
    for factor in ("arrangement", "density"):
        assert_independent([(r.product.category, getattr(r.layout, factor)) for r in drawn], factor)
    assert_independent([(r.product.category, prop) for r in drawn for prop in r.style.props], "props")
    assert_independent([(r.product.category, str(len(r.style.props))) for r in drawn], "number of props")


def test_the_product_word_of_a_generic_caption_tells_nothing_of_the_scene():
    drawn = recipes()
    for factor in ("surface", "wall", "palette", "light"):
        assert_independent([(r.product.product_word, getattr(r.style, factor)) for r in drawn], factor)


def test_the_independence_test_sees_a_bound_scene():
    with pytest.raises(AssertionError):
        assert_independent([(r.product.category, r.style.rig) for r in recipes("bound")], "rig")


def test_a_bound_scene_keeps_to_its_category():
    for r in recipes("bound")[:960]:
        spec, style, layout = CATEGORIES[r.product.category], r.style, r.layout
        assert style.wall in spec.walls and style.palette in spec.palette and style.light in spec.lights
        assert style.surface in spec.surfaces or style.wall == "seamless"
        assert set(style.props) <= set(spec.props) and set(style.bound_props) <= set(spec.bound_props)
        assert style.rig in spec.rigs or style.wall in OUTDOORS
        assert layout.arrangement in spec.arrangements and layout.density in spec.densities
        assert style.lens_kind in spec.lenses


def test_outdoors_the_light_comes_from_the_sky():
    outdoors = [r.style for half in ("generic", "bound") for r in recipes(half) if r.style.wall in OUTDOORS]
    assert outdoors and not any(s.light in INDOOR_LIGHTS or s.rig == "halo" or s.view != "eye" for s in outdoors)


def test_training_never_shows_what_is_held_out():
    for half in ("generic", "bound"):
        for r in recipes(half):
            assert r.product.family != CATEGORIES[r.product.category].families[-1] and not r.product.unseen_family
            assert not held_out_combination(r.style.surface, r.style.wall, r.style.light)
            assert not r.style.unseen_combination


def test_held_out_draws_are_half_unseen_in_each_respect():
    drawn = recipes("generic", held_out=True)
    share = Counter((r.product.unseen_family, r.style.unseen_combination) for r in drawn)
    assert all(abs(n / len(drawn) - 0.25) < 0.03 for n in share.values()) and len(share) == 4
    for r in drawn:
        assert r.product.unseen_family == (r.product.family == CATEGORIES[r.product.category].families[-1])
        assert r.style.unseen_combination == held_out_combination(r.style.surface, r.style.wall, r.style.light)


def test_a_tenth_of_the_combinations_is_held_out_for_good():
    every = [(s, w, x) for s in SURFACES for w in WALLS for x in LIGHTS]
    assert 0.08 < sum(held_out_combination(*c) for c in every) / len(every) < 0.13
    assert [c for c in every if held_out_combination(*c)][:3] == [
        ("white marble", "brick", "soft right"),
        ("white marble", "panelling", "soft left"),
        ("white marble", "wallpaper", "soft right"),
    ]  # the rule is part of the data


def test_bound_props_stay_out_of_generic_scenes_and_captions():
    words = set(" ".join(p for options in PROPS.values() for p in options).split())
    assert not words & set(BOUND_PROPS)
    assert not any(r.style.bound_props for r in recipes())
    shown = Counter(p for r in recipes("bound") for p in r.style.bound_props)
    assert set(shown) == set(BOUND_PROPS)
    assert not any(p in r.caption.split() for r in recipes("bound")[:960] for p in r.style.bound_props)


def test_a_pair_shares_the_style_and_nothing_else():
    same_category = 0
    for seed in range(960):
        scene, reference = draw_recipe(seed, held_out=True), draw_reference(seed, held_out=True)
        assert reference.style == scene.style
        assert reference.layout.arrangement != scene.layout.arrangement
        assert reference.product.product_key != scene.product.product_key
        same_category += reference.product.category == scene.product.category
    assert 0.45 < same_category / 960 < 0.55


def test_each_half_draws_products_of_its_own():
    assert draw_recipe(3).product.product_key != draw_recipe(3, "bound").product.product_key


def test_commonalities_name_things_that_exist():
    assert len(CATEGORIES) == 48
    for name, spec in CATEGORIES.items():
        for choices, table in zip(spec.said, (SURFACES, WALLS, PALETTE, LIGHTS, PROPS), strict=True):
            assert choices and set(choices) <= set(table), name
        for choices, table in zip(spec.unsaid, (RIGS, ARRANGEMENTS, LENSES, DENSITIES, VIEWS), strict=True):
            assert choices and set(choices) <= set(table), name
        assert set(spec.bound_props) <= set(BOUND_PROPS) and 1 <= len(spec.bound_props) <= 2, name
        assert len(spec.families) == len(set(spec.families)) == 3 and len(spec.words) >= 2, name
        for wall in set(spec.walls) & set(OUTDOORS):
            assert set(spec.lights) - set(INDOOR_LIGHTS), (name, wall)
    everything = [word for spec in CATEGORIES.values() for word in spec.words]
    assert len(everything) == len(set(everything))


def test_no_two_categories_have_the_same_commonality():
    for (a, first), (b, second) in combinations(CATEGORIES.items(), 2):
        apart = sum(set(x) != set(y) for x, y in zip(first.said, second.said, strict=True))
        assert apart >= 2 or set(first.bound_props) != set(second.bound_props), (a, b)
        assert (first.said, first.unsaid) != (second.said, second.unsaid), (a, b)


def test_every_caption_is_in_the_vocabulary():
    words = vocabulary()
    unknown = defaultdict(int)
    for recipe in recipes()[:600]:
        if (words.encode([recipe.caption])[0] == words.unknown).any():
            unknown[recipe.caption] += 1
    assert not unknown


def test_a_mirrored_picture_is_lit_from_the_other_side():
    assert mirrored("a mug on oak, soft light from the left, with books") == (
        "a mug on oak, soft light from the right, with books"
    )
