"""The sanity ladder: every figure falls when its pictures get worse, and says how sure it is."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.functional import gaussian_blur

from training.evaluators.networks import SceneNet
from training.metrics.decisions import area_under_curve, extension, hits, retrieved, threshold_between
from training.metrics.distributions import (
    diversity,
    kid,
    laplacian_patches,
    sliced_wasserstein,
    standardised,
    total_variation,
)
from training.metrics.intervals import bootstrap, flat, mean, ratio
from training.metrics.pictures import fine_energy, psnr, psnr_edges


def scenes(count: int, seed: int, side: int = 48) -> torch.Tensor:
    """[N,3,s,s] in [0,1]: coloured stripes of some width and angle, and specks of some colour."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(side).float(), torch.arange(side).float(), indexing="ij")
    out = []
    for _ in range(count):
        angle, width, phase = (torch.rand(3, generator=generator) * torch.tensor([3.1, 6.0, 6.0])).tolist()
        stripes = torch.sin((x * torch.tensor(angle).cos() + y * torch.tensor(angle).sin()) / (width + 1.5) + phase)
        colours = torch.rand(2, 3, 1, 1, generator=generator)
        specks = (torch.rand(1, side, side, generator=generator) < 0.05).float()
        picture = colours[0] * (0.5 + 0.5 * stripes) + 0.5 * specks * colours[1]
        out.append(picture.clamp(0, 1))
    return torch.stack(out)


@pytest.fixture(scope="module")
def features():
    """Features of an untrained network: enough to tell pictures apart."""
    torch.manual_seed(0)
    net = SceneNet("residual", (16, 24, 32), {"surface": 2}).eval()

    def of(pictures: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return net.features(torch.cat([pictures, torch.zeros_like(pictures[:, :1])], dim=1))

    return of


def weights(n: int) -> torch.Tensor:
    return torch.ones(n, dtype=torch.float64)


def test_pixel_metrics_fall_when_pictures_get_worse():
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    where = torch.ones(2, 1, 64, 64)
    blurred = F.avg_pool2d(picture, 3, stride=1, padding=1)
    slightly = picture + 0.01 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(1))
    assert (psnr(slightly, picture, where) > psnr(blurred, picture, where) + 10).all()
    assert psnr(slightly, picture, where).mean() == pytest.approx(40, abs=0.3)
    assert (psnr_edges(blurred, picture, where) < psnr(blurred, picture, where)).all()
    assert (fine_energy(blurred, where) < 0.6 * fine_energy(picture, where)).all()
    # a plain picture with a little noise on it hardly counts
    plain, noisy = torch.full_like(picture, 0.5), 0.5 + 0.01 * torch.randn_like(picture)
    both = ratio(fine_energy(torch.cat([blurred, noisy]), torch.cat([where, where])),
                 fine_energy(torch.cat([picture, plain]), torch.cat([where, where])))  # fmt: skip
    assert float(both(weights(4))) < 0.7


def test_distances_between_sets_grow_with_blur_noise_and_strangeness(features):
    n = 60
    real, others = scenes(n, seed=0), scenes(n, seed=1)
    noise = 0.1 * torch.randn(others.shape, generator=torch.Generator().manual_seed(2))
    ladder = [
        others,
        gaussian_blur(others, 5, 0.7),
        gaussian_blur(others, 13, 2.0),
        torch.full_like(others, 0.5),
    ]
    distances = [float(kid(*standardised(features(real), features(x)))(weights(n))) for x in ladder]
    assert distances == sorted(distances) and distances[-1] > 10 * abs(distances[0])
    assert float(kid(*standardised(features(real), features(others + noise)))(weights(n))) > 5 * abs(distances[0])
    where = torch.ones(n, 1, 48, 48)
    patches = [laplacian_patches(x, where, 40) for x in (real, *ladder)]
    apart = [float(sliced_wasserstein(patches[0], x)(weights(n))) for x in patches[1:]]
    assert apart == sorted(apart) and apart[-1] > 3 * apart[0]


def test_patches_are_those_of_their_own_picture_inside_its_background():
    """More pictures than are unfolded at once: noise grows with the row, and is louder still where it doesn't count."""
    n = 40
    noise = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    strength = torch.arange(1.0, n + 1)[:, None, None, None]
    where = torch.zeros(n, 1, 32, 32)
    where[..., 16:] = 1
    noise[..., :12] *= 100  # patches' centres lie inside, their edges a little outside
    finest = laplacian_patches(noise * strength, where, 30, levels=1, side=3)[0]
    assert finest.shape == (n, 30, 27)
    spread = finest.flatten(1).std(1) / strength.flatten()
    assert float(spread.min() / spread.mean()) > 0.8 and float(spread.max() / spread.mean()) < 1.2


def test_the_kernel_distance_is_unbiased_and_needs_no_subsets(features):
    """One distribution against itself: near zero, and the mean over subsets is the whole sets' figure."""
    a, b = standardised(features(scenes(40, seed=3)), features(scenes(40, seed=4)))
    whole = float(kid(a, b)(weights(40)))
    generator = torch.Generator().manual_seed(0)
    subsets = []
    for _ in range(2000):
        rows = torch.randperm(40, generator=generator)[:12]
        subsets.append(float(kid(a[rows], b[rows])(weights(12))))
    spread = torch.tensor(subsets)
    assert abs(spread.mean() - whole) < 4 * spread.std() / 2000**0.5
    assert abs(whole) < 0.1 * float(kid(a, b + 1)(weights(40)))
    shared = kid(a, a)(weights(40))
    assert float(shared) == pytest.approx(0, abs=1e-6)


def test_a_picture_drawn_twice_is_no_pair_with_itself(features):
    """Weights of 2 must give what a set with copies gives when pairs of copies are left out."""
    a, b = features(scenes(6, seed=5)), features(scenes(6, seed=6))
    twice = torch.tensor([2.0, 1, 1, 0, 1, 1], dtype=torch.float64)
    rows = torch.repeat_interleave(torch.arange(6), twice.long())
    different = (rows[:, None] != rows[None]).double()

    def total(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (((x[rows].double() @ y[rows].double().T / x.shape[1] + 1) ** 3) * different).sum() / different.sum()

    expected = 100 * (total(a, a) + total(b, b) - total(a, b) - total(b, a))
    assert float(kid(a, b)(twice)) == pytest.approx(float(expected), rel=1e-9)


def test_diversity_falls_when_a_category_looks_always_alike(features):
    categories = [str(i // 5) for i in range(40)]
    real = features(scenes(40, seed=7))
    own = features(scenes(40, seed=8))
    alike = own[[i - i % 5 for i in range(40)]]
    assert float(diversity(own, real, alike, categories)(weights(40))) == pytest.approx(1, abs=0.15)
    assert float(diversity(0.5 * own + 0.5 * alike, real, alike, categories)(weights(40))) < 0.75
    assert float(diversity(alike, real, alike, categories)(weights(40))) == 0
    # what differs from picture to picture whatever the background is counts for nothing
    holes = features(scenes(40, seed=9))
    sets = (torch.cat([some, holes], 1) for some in (alike, real, alike))
    assert float(diversity(*sets, categories)(weights(40))) == 0
    one_hot = F.one_hot(torch.arange(40) % 4, 4)
    assert float(total_variation(one_hot, one_hot.roll(1, 0))(weights(40))) == 0
    assert (
        float(total_variation(torch.zeros_like(one_hot) + F.one_hot(torch.tensor(0), 4), one_hot)(weights(40))) == 0.75
    )


def test_intervals_are_clustered_and_hold_the_truth():
    """Ten pictures of a category that agree are one piece of evidence: the interval must not shrink."""
    generator = torch.Generator().manual_seed(0)
    per_category = torch.randn(30, generator=generator)
    once = bootstrap(mean(per_category), list(range(30)))
    often = bootstrap(mean(per_category.repeat_interleave(10)), [i // 10 for i in range(300)])
    assert often.value == pytest.approx(once.value, abs=1e-6) and often.high - often.low == pytest.approx(
        once.high - once.low, rel=1e-6
    )
    assert once.low < once.value < once.high
    deviation = float(per_category.std()) / 30**0.5
    assert (once.high - once.low) == pytest.approx(2 * 1.96 * deviation, rel=0.15)
    assert flat({"kid": once}).keys() == {"kid", "kid_low", "kid_high"}
    counted = mean(torch.tensor([1.0, torch.nan, 0.0]))
    assert float(counted(weights(3))) == 0.5


def test_decisions():
    logits = torch.eye(4)
    assert hits(logits, torch.arange(4)).mean() == 1
    assert hits(logits, torch.arange(4).roll(1)).mean() == 0  # shuffled categories
    assert hits(logits, torch.tensor([0, -100, -100, 1])).nanmean() == 0.5
    generator = torch.Generator().manual_seed(0)
    standing, lifted = torch.randn(200, generator=generator) + 2, torch.randn(200, generator=generator)
    curve = float(area_under_curve(standing, lifted)(weights(200)))
    assert curve == pytest.approx(0.921, abs=0.03)  # of two unit normals two deviations apart
    assert float(area_under_curve(lifted, lifted)(weights(200))) == 0.5
    threshold = threshold_between(standing, lifted)
    assert threshold == pytest.approx(1, abs=0.2)
    assert abs((standing > threshold).double().mean() - (lifted <= threshold).double().mean()) < 0.02


def test_retrieval_falls_to_chance_when_styles_are_shuffled():
    generator = torch.Generator().manual_seed(0)
    style = F.normalize(torch.randn(100, 16, generator=generator), dim=1)
    query = F.normalize(style + 0.2 * torch.randn(100, 16, generator=generator), dim=1)
    others = [[(i + k) % 100 for k in range(1, 50)] for i in range(100)]
    assert retrieved(query, style, others).mean() > 0.9
    assert retrieved(query.roll(1, 0), style, others).mean() < 0.1


def test_extension_is_the_share_that_grew():
    given = torch.zeros(2, 1, 10, 10, dtype=torch.bool)
    given[:, :, 2:6, 2:7] = True  # 20 pixels
    found = given.clone()
    found[1, :, 6, 2:7] = True  # 5 more
    found[0, :, 2] = False  # a segmenter that misses a part finds no extension
    assert extension(found, given).tolist() == [0, 0.25]
