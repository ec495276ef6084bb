"""The camera of a scene and where things lie in its frame."""

from collections.abc import Iterable
from math import cos, radians, sin

import bpy
import numpy as np
from mathutils import Vector

from .catalog import DEPTHS_OF_FIELD
from .recipe import Layout, Style

SENSOR = 36.0  # mm
MARGIN = 0.03  # of the frame, kept free around the product

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the frame


def aim_camera(style: Style, layout: Layout, stand_height: float, radius: float, height: float) -> None:
    """Frames a product of `radius` and `height` that stands `stand_height` above the surface."""
    scene = bpy.context.scene
    data = bpy.data.cameras.new("camera")
    data.lens, data.sensor_width = style.lens, SENSOR
    extent = max(height, 2 * radius)
    distance = extent / layout.fill / (SENSOR / style.lens)
    tilt = radians(layout.elevation)
    target = Vector((0, 0, stand_height + height / 2))
    camera = bpy.data.objects.new("camera", data)
    camera.location = target + Vector((0, -cos(tilt), sin(tilt))) * distance
    camera.location.z = max(camera.location.z, 0.12)
    camera.rotation_euler = (target - camera.location).to_track_quat("-Z", "Y").to_euler()
    data.shift_x, data.shift_y = layout.shift_x, layout.shift_y
    blur = DEPTHS_OF_FIELD[style.depth_of_field]
    data.dof.use_dof = blur > 0
    if blur:
        data.dof.focus_distance = max(distance - radius * 0.5, 0.1)
        data.dof.aperture_fstop = style.lens / 1000 / (2 * blur * extent * 0.8)
    scene.collection.objects.link(camera)
    scene.camera = camera


def keep_inside(bodies: Iterable[bpy.types.Object]) -> None:
    """Shifts the frame, and widens it where it must, until it holds all of `bodies`."""
    bodies, data = list(bodies), bpy.context.scene.camera.data
    left, top, right, bottom = frame_box(bodies)
    room = 1 - 2 * MARGIN
    data.lens *= min(1.0, room / (right - left), room / (bottom - top))
    left, top, right, bottom = frame_box(bodies)
    data.shift_x += min(0.0, left - MARGIN) + max(0.0, right - 1 + MARGIN)
    data.shift_y -= min(0.0, top - MARGIN) + max(0.0, bottom - 1 + MARGIN)


def frame_box(bodies: Iterable[bpy.types.Object]) -> Box:
    """The bounding box of `bodies` in the frame; it may reach over the frame's edges."""
    scene = bpy.context.scene
    camera = scene.camera
    bpy.context.view_layer.update()
    frame = camera.calc_matrix_camera(bpy.context.evaluated_depsgraph_get(), x=100, y=100)
    matrix = np.array(frame @ camera.matrix_world.inverted())
    points = np.concatenate([vertices(body) for body in bodies])
    seen = np.c_[points, np.ones(len(points))] @ matrix.T
    seen = seen[:, :2] / np.maximum(seen[:, 3:], 1e-6)
    x, y = 0.5 + seen[:, 0] / 2, 0.5 - seen[:, 1] / 2
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def vertices(body: bpy.types.Object) -> np.ndarray:
    """[N,3] in world coordinates; `view_layer.update` must have run since the body moved."""
    points = np.empty(len(body.data.vertices) * 3, np.float32)
    body.data.vertices.foreach_get("co", points)
    world = np.array(body.matrix_world)
    return points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]


def visible(box: Box) -> list[float] | None:
    """The box cut to the frame, or None where nothing of it lies inside."""
    left, top, right, bottom = (round(min(max(edge, 0.0), 1.0), 4) for edge in box)
    return [left, top, right, bottom] if right > left and bottom > top else None
