"""Super-pixels of images that are awkward: small, grainy, flat, of any number of channels."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label
from skimage.segmentation import slic

from convscope.errors import InputError
from convscope.explain.segments import SEGMENTATIONS, superpixels


def grain(channels: int, height: int, width: int, n: int = 1) -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(n, channels, height, width))
    return drawn.astype(np.float32)


def scene(channels: int, height: int, width: int) -> np.ndarray:
    """A bright disc on a ramp."""
    y, x = np.mgrid[:height, :width] / [[[height]], [[width]]]
    disc = (y - 0.4) ** 2 + (x - 0.6) ** 2 < 0.05
    return np.stack([x + k * y + 3 * disc for k in range(channels)])[None].astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("shape", [(8, 8), (20, 20), (32, 32), (64, 64), (7, 50), (3, 40)])
def test_slic_gives_many_pieces_of_grain(channels: int, shape: tuple[int, int]) -> None:
    """By itself it joins the crumbs into few, or one, which LIME can do nothing with."""
    found = superpixels(grain(channels, *shape))
    assert found.max() + 1 >= min(50, shape[0] * shape[1]) / 4


def test_slic_is_left_alone_where_it_gives_enough() -> None:
    image = scene(3, 60, 80)
    low, high = image.min(), image.max()
    pixels = np.moveaxis((image[0].astype(float) - low) / (high - low), 0, -1)
    wanted = slic(pixels, n_segments=50, compactness=10.0, start_label=0)
    np.testing.assert_array_equal(superpixels(image)[0], wanted)


@pytest.mark.parametrize("how", SEGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(8, 8), (20, 20), (28, 28), (9, 40)])
def test_small_images_give_several_pieces(how: str, channels: int, shape: tuple[int, int]) -> None:
    for image in (scene(channels, *shape), grain(channels, *shape)):
        found = superpixels(image, how)
        assert found.shape == (1, *shape)
        np.testing.assert_array_equal(np.unique(found), np.arange(found.max() + 1))
        assert found.max() >= 1


@pytest.mark.parametrize("how", ["slic", "quickshift"])
@pytest.mark.parametrize("side", [8, 20, 64])
def test_a_flat_image_is_cut_by_place(how: str, side: int) -> None:
    assert superpixels(np.full((1, 3, side, side), 0.3, np.float32), how).max() >= 1


def test_what_cannot_be_cut_says_so() -> None:
    flat = np.concatenate([scene(1, 30, 30), np.zeros((1, 1, 30, 30), np.float32)])
    with pytest.raises(InputError, match="Image 1 is one super-pixel only"):
        superpixels(flat, "felzenszwalb")
    with pytest.raises(InputError, match="one super-pixel only"):
        superpixels(np.zeros((1, 2, 1), np.float32))


@pytest.mark.parametrize("how", SEGMENTATIONS)
def test_the_range_of_the_values_does_not_matter(how: str) -> None:
    """Inputs are normalised, each network in its own way."""
    image = scene(3, 40, 50)
    np.testing.assert_array_equal(superpixels(image * 8 - 16, how), superpixels(image, how))


@pytest.mark.parametrize("how", SEGMENTATIONS)
def test_an_image_is_cut_the_same_whatever_is_beside_it(how: str) -> None:
    images = np.concatenate([scene(3, 30, 40), 100 * grain(3, 30, 40), scene(3, 30, 40)[..., ::-1]])
    together = superpixels(images, how)
    for place in range(3):
        np.testing.assert_array_equal(
            together[place], superpixels(images[place : place + 1], how)[0]
        )


def test_pieces_of_slic_hang_together() -> None:
    found = superpixels(scene(3, 60, 80))[0]
    for piece in range(found.max() + 1):
        assert label(found == piece, connectivity=2).max() == 1


@pytest.mark.parametrize("count", [2, 10, 200])
def test_the_count_is_about_what_is_asked(count: int) -> None:
    pieces = superpixels(scene(3, 120, 160), count=count).max() + 1
    assert count / 2 <= pieces <= 2 * count
