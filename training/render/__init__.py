"""Blender renders of product scenes, written in BG60k's own layout.

`catalog` names what scenes are made of and `categories` what is photographed in them; `recipe` draws one scene's
factors from a seed (pure Python, no Blender) and `captions` puts them into words. `studio` builds and renders a recipe
with `bpy`: `products` and `props*` shape things, `scatter` finds places for them, `scenery`, `lights`, `camera` and
`materials` do what their names say. `farm` renders over processes, `plan` the whole studio.

    python -m training.render --seed-range 0:1500 --out data/trial
    python -m training.render.plan
"""
