"""What a job is known by: seeds, keys, prompt ids and file names that are the same in every run."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import Any

import pytest

from catalogue.job import Job, file_stem, further_seed, jobs_of, key_of, prompt_id_of
from catalogue.rows import MAX_SEED, Row
from tests.catalogue.standin_graph import example_graph


def jobs(**row: Any) -> list[Job]:
    return list(jobs_of(7, Row.model_validate({"id": "x", "image": "a.png", "category": "shoe", **row})))


def test_variants_differ_in_their_seeds_alone() -> None:
    first, second, third = jobs(seed=5, variants=3, size="XL")
    assert [job.seed for job in (first, second, third)] == [5, 6, 7]
    assert first.values == {
        "id": "x", "image": "a.png", "category": "shoe", "size": "XL", "variants": 3, "seed": 5, "variant": 0,
    }  # fmt: skip
    assert second.values == first.values | {"seed": 6, "variant": 1}
    assert (first.line, first.category, first.files) == (7, "shoe", {"image": "a.png"})
    assert [job.seed for job in jobs(seed=MAX_SEED, variants=2)] == [MAX_SEED, 0]


def test_a_row_without_a_seed_gets_its_own_for_ever() -> None:
    assert jobs()[0].seed == jobs(image="b.png")[0].seed == 225837604154073
    assert jobs(id="y")[0].seed != jobs()[0].seed


def test_further_seeds() -> None:
    (job,) = jobs(seed=5)
    seeds = [further_seed(job, attempt) for attempt in range(20)]
    assert seeds[0] == 5 and len(set(seeds)) == 20 and all(0 <= seed <= MAX_SEED for seed in seeds)
    assert seeds[1:] != [further_seed(replace(job, variant=1), attempt) for attempt in range(1, 20)]
    assert job.with_seed(9).values["seed"] == 9 and job.values["seed"] == 5


def test_the_key_is_of_all_that_decides_the_picture() -> None:
    graph, weights = example_graph(), {"base.safetensors": "ab"}
    (job,) = jobs(seed=5)
    key = key_of(job, graph, weights)
    titled = example_graph()
    titled["4"]["_meta"]["title"] = "Brush"
    assert key == key_of(replace(job, line=99), titled, weights) and re.fullmatch("[0-9a-f]{64}", key)
    other = example_graph()
    other["4"]["inputs"]["steps"] = 5
    for changed in (
        key_of(job, other, weights), key_of(job, graph, {"base.safetensors": "cd"}),
        key_of(job.with_seed(6), graph, weights),
        key_of(replace(job, product="y"), graph, weights), key_of(replace(job, variant=1), graph, weights),
    ):  # fmt: skip
        assert changed != key


def test_prompt_ids() -> None:
    made = {prompt_id_of("key", submission, attempt) for submission in range(3) for attempt in range(3)}
    assert len(made) == 9 and all(str(uuid.UUID(each)) == each for each in made)
    assert prompt_id_of("key", 0, 0) == "0528106f-8ef0-5256-b0b9-4750d3e07f18"


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("shoe-7", "shoe-7"), ("a/b\\c", "a_b_c"), ("../../etc/passwd", "etc_passwd"), ("..", "product"),
        ("靴", "product"), ("x" * 200, "x" * 80), (".hidden", "hidden"), ("a b:c*d?e\"f<g>h|i", "a_b_c_d_e_f_g_h_i"),
        ("👩‍👩‍👧", "product"),
        ("nul\u202egnp.exe", "nul_gnp.exe"),
    ],
)  # fmt: skip
def test_file_names_are_fit_for_every_file_system(product: str, name: str) -> None:
    (job,) = jobs()
    stem = file_stem(replace(job, product=product), "0123456789abcdef")
    assert stem == f"{name}_0_0123456789" and re.fullmatch("[A-Za-z0-9_.-]+", stem)
