"""Blender renders of product scenes, written in BG60k's own layout.

`catalog` names what can be drawn, `recipe` draws one scene's factors from a seed (pure Python, no Blender),
`captions` puts them into words, and `products`, `materials`, `scenery` and `studio` build and render them with `bpy`.

    python -m training.render --seed-range 0:1500 --out data/studio
"""
