"""What a scene is made of is decided before Blender is asked, so it is tested without Blender."""

from collections import Counter, defaultdict

from training.base_batch import mirrored
from training.render.catalog import CATEGORIES, LIGHTS, OUTDOORS, PROPS, SURFACES, WALLS
from training.render.recipe import draw_recipe
from training.train_base import vocabulary

SEEDS = range(2400)


def test_a_seed_always_draws_the_same_scene():
    assert draw_recipe(17) == draw_recipe(17)
    assert draw_recipe(17) != draw_recipe(17 + len(CATEGORIES))


def test_categories_are_balanced_and_held_out_shapes_never_drawn():
    recipes = [draw_recipe(seed) for seed in SEEDS]
    counts = Counter(r.category for r in recipes)
    assert set(counts.values()) == {len(SEEDS) // len(CATEGORIES)}
    held = {name: spec.families[-1] for name, spec in CATEGORIES.items()}
    assert all(r.family != held[r.category] for r in recipes)
    assert all(draw_recipe(s, held_out=True).family == held[draw_recipe(s).category] for s in range(24))


def test_a_generic_scene_tells_nothing_of_the_category():
    """Chi-squared of category against each factor stays near its degrees of freedom."""
    recipes = [draw_recipe(seed) for seed in SEEDS]
    for factor in ("surface", "wall", "palette", "light"):
        table = Counter((r.category, getattr(r, factor)) for r in recipes)
        values = Counter(getattr(r, factor) for r in recipes)
        expected = {(c, v): n / len(CATEGORIES) for c in CATEGORIES for v, n in values.items()}
        chi = sum((table[key] - e) ** 2 / e for key, e in expected.items())
        freedom = (len(CATEGORIES) - 1) * (len(values) - 1)
        assert chi < freedom + 4 * (2 * freedom) ** 0.5, factor


def test_a_bound_scene_keeps_to_its_category():
    for seed in SEEDS[:240]:
        recipe = draw_recipe(seed, "bound")
        spec = CATEGORIES[recipe.category]
        assert recipe.wall in spec.walls and recipe.palette in spec.palette
        assert set(recipe.props) <= set(spec.props)


def test_commonalities_name_things_that_exist():
    for spec in CATEGORIES.values():
        assert set(spec.surfaces) <= set(SURFACES) and set(spec.walls) <= set(WALLS)
        assert set(spec.lights) <= set(LIGHTS) and set(spec.props) <= set(PROPS)
    assert set(OUTDOORS) <= set(WALLS)


def test_every_caption_is_in_the_vocabulary():
    words = vocabulary()
    unknown = defaultdict(int)
    for seed in SEEDS[:600]:
        caption = draw_recipe(seed).caption
        if (words.encode([caption])[0] == words.unknown).any():
            unknown[caption] += 1
    assert not unknown


def test_a_mirrored_picture_is_lit_from_the_other_side():
    assert mirrored("a mug on oak, soft light from the left, with books") == (
        "a mug on oak, soft light from the right, with books"
    )
