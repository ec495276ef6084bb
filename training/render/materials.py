"""Procedural Cycles materials. Each function returns a new material; scale is in scene units (a product is ~1 high)."""

import random

import bpy

Colour = tuple[float, float, float]


class Shader:
    """A material under construction: a principled surface and the node graph that feeds it."""

    def __init__(self, name: str, coordinates: str = "Object") -> None:
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.nodes = self.material.node_tree.nodes
        self.principled = self.nodes["Principled BSDF"]
        self.coordinates = self.nodes.new("ShaderNodeTexCoord").outputs[coordinates]

    def link(self, output, target) -> None:
        self.material.node_tree.links.new(output, target)

    def set(self, **inputs: object) -> "Shader":
        """Sets principled inputs by name (`base_color`, `coat_weight`, ...)."""
        for key, value in inputs.items():
            socket = self.principled.inputs[key.replace("_", " ").title().replace("Ior", "IOR")]
            socket.default_value = (*value, 1.0) if isinstance(value, tuple) else value
        return self

    def placed(self, scale: Colour, rotate: float = 0.0):
        mapping = self.nodes.new("ShaderNodeMapping")
        mapping.inputs["Scale"].default_value = scale
        mapping.inputs["Rotation"].default_value = (0.0, 0.0, rotate)
        self.link(self.coordinates, mapping.inputs["Vector"])
        return mapping.outputs["Vector"]

    def noise(self, vector, scale: float, detail: float = 6.0, distortion: float = 0.0):
        node = self.nodes.new("ShaderNodeTexNoise")
        node.inputs["Scale"].default_value = scale
        node.inputs["Detail"].default_value = detail
        node.inputs["Distortion"].default_value = distortion
        self.link(vector, node.inputs["Vector"])
        return node.outputs["Fac"]

    def ramp(self, value, *stops: tuple[float, Colour]):
        node = self.nodes.new("ShaderNodeValToRGB")
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (position, colour) in zip(elements, stops, strict=True):
            element.position = position
            element.color = (*colour, 1.0)
        self.link(value, node.inputs["Fac"])
        return node.outputs["Color"]

    def colour(self, output) -> "Shader":
        self.link(output, self.principled.inputs["Base Color"])
        return self

    def bump(self, height, strength: float, distance: float = 0.02) -> "Shader":
        node = self.nodes.new("ShaderNodeBump")
        node.inputs["Strength"].default_value = strength
        node.inputs["Distance"].default_value = distance
        self.link(height, node.inputs["Height"])
        self.link(node.outputs["Normal"], self.principled.inputs["Normal"])
        return self


def mixed(a: Colour, b: Colour, share: float) -> Colour:
    return tuple(x + (y - x) * share for x, y in zip(a, b, strict=True))


def plain(colour: Colour, roughness: float = 0.5, **inputs: object) -> bpy.types.Material:
    return Shader("plain").set(base_color=colour, roughness=roughness, **inputs).material


def glass(colour: Colour, roughness: float = 0.02) -> bpy.types.Material:
    return Shader("glass").set(base_color=colour, roughness=roughness, transmission_weight=1.0, ior=1.42).material


def metal(colour: Colour, roughness: float = 0.25) -> bpy.types.Material:
    return Shader("metal").set(base_color=colour, roughness=roughness, metallic=1.0).material


def glowing(colour: Colour, strength: float) -> bpy.types.Material:
    return Shader("glow").set(base_color=colour, emission_color=colour, emission_strength=strength).material


def marble(rng: random.Random, base: Colour, vein: Colour) -> bpy.types.Material:
    shader = Shader("marble")
    vector = shader.placed((1, 1, 1), rng.uniform(0, 6.3))
    veins = shader.noise(vector, rng.uniform(0.8, 1.6), detail=8, distortion=rng.uniform(1.2, 2.4))
    half = mixed(base, vein, 0.35)
    shader.colour(shader.ramp(veins, (0.0, base), (0.44, half), (0.5, vein), (0.55, half), (0.62, base)))
    return shader.set(roughness=rng.uniform(0.06, 0.2)).material


def wood(rng: random.Random, light: Colour, dark: Colour) -> bpy.types.Material:
    shader = Shader("wood")
    turn = rng.choice((0.0, 0.0, 1.57)) + rng.uniform(-0.1, 0.1)
    grain = shader.noise(shader.placed((0.7, 9, 9), turn), rng.uniform(1.2, 2.2), detail=8, distortion=0.6)
    shader.colour(shader.ramp(grain, (0.32, dark), (0.5, mixed(dark, light, 0.6)), (0.68, light)))
    return shader.bump(grain, 0.15).set(roughness=rng.uniform(0.3, 0.55)).material


def speckled(rng: random.Random, base: Colour, scale: float, contrast: float, bump: float, roughness: float):
    """Concrete, slate, sand, moss: one colour broken by noise, with relief."""
    shader = Shader("speckled")
    vector = shader.placed((1, 1, 1), rng.uniform(0, 6.3))
    noise = shader.noise(vector, scale * rng.uniform(0.8, 1.25), detail=10)
    low, high = mixed(base, (0, 0, 0), contrast), tuple(min(1.0, c * (1 + contrast)) for c in base)
    shader.colour(shader.ramp(noise, (0.3, low), (0.7, high)))
    return shader.bump(noise, bump, 0.05).set(roughness=roughness).material


def linen(rng: random.Random, base: Colour) -> bpy.types.Material:
    shader = Shader("linen")
    waves = shader.nodes.new("ShaderNodeTexWave")
    waves.inputs["Scale"].default_value = 26.0
    waves.inputs["Distortion"].default_value = 2.0
    shader.link(shader.placed((1, 1, 1), rng.uniform(0, 1.5)), waves.inputs["Vector"])
    folds = shader.noise(shader.placed((0.6, 1.5, 1), rng.uniform(0, 3)), 1.1, detail=2)
    shader.colour(shader.ramp(waves.outputs["Fac"], (0.0, mixed(base, (0, 0, 0), 0.25)), (1.0, base)))
    return shader.bump(folds, 0.9, 0.25).set(roughness=0.95).material


def terrazzo(rng: random.Random) -> bpy.types.Material:
    shader = Shader("terrazzo")
    cells = shader.nodes.new("ShaderNodeTexVoronoi")
    cells.inputs["Scale"].default_value = rng.uniform(9, 15)
    shader.link(shader.placed((1, 1, 1), rng.uniform(0, 6)), cells.inputs["Vector"])
    base = (0.72, 0.69, 0.64)
    chips = shader.ramp(
        cells.outputs["Color"], (0.0, (0.45, 0.16, 0.10)), (0.35, base), (0.62, (0.10, 0.14, 0.14)), (0.8, base)
    )
    chips.node.color_ramp.interpolation = "CONSTANT"
    shader.colour(chips)
    return shader.set(roughness=0.2).material


def bricks(
    rng: random.Random,
    colour: Colour,
    mortar: Colour,
    width: float,
    height: float,
    gap: float,
    offset: float,
    upright: bool = True,
):
    """Brick walls and tiles in the object's xz plane, or boards in its xy plane."""
    shader = Shader("bricks")
    node = shader.nodes.new("ShaderNodeTexBrick")
    node.offset = offset
    node.inputs["Color1"].default_value = (*colour, 1)
    node.inputs["Color2"].default_value = (*mixed(colour, (0, 0, 0), 0.18), 1)
    node.inputs["Mortar"].default_value = (*mortar, 1)
    for key, value in (("Scale", 1.0), ("Brick Width", width), ("Row Height", height), ("Mortar Size", gap)):
        node.inputs[key].default_value = value
    mapping = shader.placed((1, 1, 1)).node
    mapping.inputs["Rotation"].default_value = (-1.5708 if upright else 0.0, 0.0, 0.0)
    mapping.inputs["Location"].default_value = (rng.uniform(0, 1), rng.uniform(0, 1), 0.0)
    shader.link(mapping.outputs["Vector"], node.inputs["Vector"])
    shader.colour(node.outputs["Color"])
    return shader.bump(node.outputs["Fac"], -0.5, 0.03).set(roughness=0.25 if offset == 0 else 0.85).material


def chequered(rng: random.Random, light: Colour, dark: Colour) -> bpy.types.Material:
    shader = Shader("chequered")
    node = shader.nodes.new("ShaderNodeTexChecker")
    node.inputs["Color1"].default_value, node.inputs["Color2"].default_value = (*light, 1), (*dark, 1)
    node.inputs["Scale"].default_value = 1.0
    scale = rng.uniform(2.2, 3.6)
    mapping = shader.placed((scale, scale, 0.0), rng.choice((0.0, 0.785))).node
    mapping.inputs["Location"].default_value = (rng.uniform(0, 1), rng.uniform(0, 1), 0.5)
    shader.link(mapping.outputs["Vector"], node.inputs["Vector"])
    shader.colour(node.outputs["Color"])
    return shader.set(roughness=0.15).material


def brushed(rng: random.Random, colour: Colour) -> bpy.types.Material:
    """Steel with fine scratches in one direction."""
    shader = Shader("brushed")
    scratches = shader.noise(shader.placed((0.8, 60, 1), rng.uniform(-0.1, 0.1)), 3.0, detail=3)
    shader.colour(shader.ramp(scratches, (0.3, mixed(colour, (0, 0, 0), 0.3)), (0.7, colour)))
    return shader.bump(scratches, 0.08).set(roughness=rng.uniform(0.28, 0.4), metallic=1.0).material


def striped(rng: random.Random, first: Colour, second: Colour) -> bpy.types.Material:
    """Upright stripes along the object's x axis."""
    shader = Shader("striped")
    waves = shader.nodes.new("ShaderNodeTexWave")
    waves.inputs["Scale"].default_value = rng.uniform(0.7, 1.3)
    shader.link(shader.placed((1, 0, 0)), waves.inputs["Vector"])
    stripes = shader.ramp(waves.outputs["Fac"], (0.0, first), (0.5, second))
    stripes.node.color_ramp.interpolation = "CONSTANT"
    shader.colour(stripes)
    return shader.set(roughness=0.85).material


def foliage(rng: random.Random, evening: bool) -> bpy.types.Material:
    """A garden far out of focus: clumps of green light with bright gaps, emitted, so that it needs no leaves."""
    shader = Shader("foliage")
    vector = shader.placed((1, 1, 1), rng.uniform(0, 0.4))
    warm = (1.0, 0.62, 0.25) if evening else (0.80, 0.95, 0.55)
    clumps = shader.noise(vector, rng.uniform(0.45, 0.8), detail=3.5, distortion=0.4)
    greens = shader.ramp(
        clumps, (0.25, (0.008, 0.03, 0.008)), (0.42, (0.03, 0.11, 0.02)), (0.56, (0.13, 0.30, 0.05)),
        (0.68, mixed((0.3, 0.5, 0.12), warm, 0.4)), (0.8, warm),
    )  # fmt: skip
    shader.link(greens, shader.principled.inputs["Emission Color"])
    return shader.set(base_color=(0.0, 0.0, 0.0), roughness=1.0, emission_strength=0.9).material


def picture(image: bpy.types.Image, roughness: float = 0.45) -> bpy.types.Material:
    """A printed label over UV coordinates."""
    shader = Shader("label", "UV")
    node = shader.nodes.new("ShaderNodeTexImage")
    node.image = image
    shader.link(shader.coordinates, node.inputs["Vector"])
    shader.colour(node.outputs["Color"])
    return shader.set(roughness=roughness).material
