"""The arithmetic of some lessons against hand arithmetic and torch.autograd."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from rich.console import Console

from convscope.demo.scene import CLASSES
from convscope.lessons import dense, photo, photo_model, residual, shuffle
from convscope.lessons.catalog import load
from convscope.lessons.lesson import Lesson
from convscope.lessons.terminal import tell


def printed(lesson: Lesson) -> str:
    text = io.StringIO()
    tell(lesson, Console(file=text, width=120))
    return text.getvalue()


# dense


def test_the_layer_and_its_gradient_by_hand() -> None:
    data = load("dense").data
    z0, z1 = 0.5 * 1 + 0.25 * 2 + 1 * 0.5 + 0.1, -0.5 * 1 - 0.75 * 2 + 0.25 * 0.5 - 0.1
    assert data["logits"] == pytest.approx([z0, z1])
    p1 = math.exp(z1) / (math.exp(z0) + math.exp(z1))
    assert data["shares"] == pytest.approx([1 - p1, p1])
    assert data["loss"] == pytest.approx(-math.log(p1))
    by_logits = [1 - p1, p1 - 1]
    assert data["by_bias"] == pytest.approx(by_logits)
    for found, slope in zip(data["by_weights"], by_logits, strict=True):
        assert found == pytest.approx([slope * x for x in (1, -2, 0.5)])
    # One step of 0.5 moves the difference of the logits by 0.5 · 2 (1 - p1) (x·x + 1).
    gap = z1 - z0 + 0.5 * 2 * (1 - p1) * (1 + 4 + 0.25 + 1)
    assert data["after"] == pytest.approx(math.log(1 + math.exp(-gap)))


def test_the_slope_of_the_landscape_is_that_of_differences() -> None:
    at = torch.tensor([0.7, -1.2], dtype=torch.float64)
    small = 1e-6
    for axis, found in enumerate(dense.slope(at.tolist()).tolist()):
        by = torch.zeros(2, dtype=torch.float64)
        by[axis] = small
        rise = float(dense.mean_loss(at + by) - dense.mean_loss(at - by)) / (2 * small)
        assert found == pytest.approx(rise, abs=1e-8)


def test_short_steps_settle_and_long_ones_do_not() -> None:
    minimum, longest = dense.lowest()
    assert dense.slope(minimum.tolist()).abs().max() < 1e-9
    least = float(dense.mean_loss(minimum))
    _, short = dense.descend(dense.START, 0.9 * longest, 200)
    assert float(short[-1]) == pytest.approx(least, abs=1e-4)
    # Even from next to the minimum: there is no settling.
    _, long = dense.descend((minimum + 1e-3).tolist(), 1.3 * longest, 400)
    assert float(long[-50:].max()) > least + 0.05
    _, far = dense.descend(dense.START, 100, 20)
    assert float(far[1:].min()) > float(far[0])


def test_what_the_terminal_writes_out() -> None:
    text = printed(load("dense"))
    assert "z0 = 0.5·1 + (-0.25)·(-2) + 1·0.5 + 0.1 = 1.6" in text
    assert "W[1][0] = -0.5 - 0.5·(-0.9727) = -0.0136" in text


# residual


def test_a_block_by_hand() -> None:
    data = load("residual").data
    assert data["h"] == pytest.approx([0.6 * 1 + 0.8 * 0.5 + 0.1, 1.2 * 1 - 0.4 * 0.5 + 0.2])
    assert data["y"] == pytest.approx([0.25 * 1.1 + 0.75, 0.25 * 1.2 - 0.75 * 0.5])
    # Both ReLUs are open: T·W + (1 - T)·identity.
    assert data["jacobian"][0] == pytest.approx([0.25 * 0.6 + 0.75, 0.25 * -0.8])
    assert data["jacobian"][1] == pytest.approx([0.25 * 1.2, 0.25 * 0.4 + 0.75])


def test_fixed_gates_lie_between_a_plain_stack_and_none() -> None:
    for start in residual.STARTS:
        plain = residual.measure("plain", start)
        assert residual.measure("fixed", start, 1.0) == plain
        # T = 0: what layer 1 gives goes on as it is, and so does the gradient on its way back.
        carried = residual.measure("fixed", start, 0.0)["gradient"]
        assert carried == pytest.approx([carried[-1]] * residual.DEPTH)


@pytest.mark.parametrize("kind", ["plain", "highway -2", "residual", "residual, batch norm"])
def test_the_gradient_by_depth_is_that_of_differences(kind: str) -> None:
    """Move the output of layer 30 along its gradient: the loss rises by the norm."""
    layers, classifier = residual.stack(kind, "larger")
    images, classes = residual._digits()
    with torch.no_grad():
        out = images
        for layer in layers[:30]:
            out = layer(out)

    def loss(moved: torch.Tensor) -> torch.Tensor:
        for layer in layers[30:]:
            moved = layer(moved)
        return torch.nn.functional.cross_entropy(classifier(moved), classes)

    at = out.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(at), at)
    norm = residual.measure(kind, "larger")["gradient"][29]
    small = 1e-6 * float(out.norm()) * slope / slope.norm()
    with torch.no_grad():
        rise = float(loss(out + small) - loss(out - small)) / (2 * float(small.norm()))
    assert norm == pytest.approx(rise, rel=1e-3)


def test_what_depth_does_to_each_stack() -> None:
    found = residual.measured()
    small = {kind: of["gradient"] for kind, of in found["small"]["named"].items()}
    assert small["plain"][0] < 1e-15 * small["plain"][-1]
    assert small["highway -4"][0] > 0.2 * small["highway -4"][-1]
    assert small["residual"][0] > 1e3 * small["residual"][-1]
    assert found["larger"]["named"]["plain"]["likeness"][-1] > 0.95


def test_lessons_leave_the_random_numbers_as_they_were() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    residual.measure("plain", "small")
    assert torch.equal(torch.rand(3), expected)


# shuffle


def test_shuffling_loses_nothing_and_blocks_stay_whole() -> None:
    for seed in range(3):
        assert sorted(shuffle.order("pixels", seed)) == list(range(64))
        blocks = shuffle.order("blocks", seed).reshape(8, 8)
        assert sorted(blocks.reshape(-1)) == list(range(64))
        for r in range(0, 8, 2):
            for c in range(0, 8, 2):
                first = blocks[r, c]
                inside = blocks[r : r + 2, c : c + 2].reshape(-1)
                assert inside.tolist() == [first, first + 1, first + 8, first + 9]
    assert shuffle.order("in order", 1).tolist() == list(range(64))


def test_a_fully_connected_network_can_undo_any_shuffling_exactly() -> None:
    images, _ = shuffle._digits()
    there = shuffle.order("pixels", 2)
    plain, shuffled = shuffle.build("fcnn", 0), shuffle.build("fcnn", 0)
    with torch.no_grad():
        shuffled[1].weight.copy_(plain[1].weight[:, there])
        expected = plain(images[:50].reshape(-1, 1, 8, 8))
        found = shuffled(images[:50][:, there].reshape(-1, 1, 8, 8))
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_stored_accuracies_are_what_training_gives() -> None:
    """All of them again; the last digits depend on the processor."""
    found = shuffle.measure()
    stored = shuffle.stored()
    assert found.keys() == stored.keys()
    for kind, by in stored.items():
        assert found[kind].keys() == by.keys()
        for arrangement, values in by.items():
            again = found[kind][arrangement]
            assert again == pytest.approx(values, abs=0.015), (kind, arrangement)
            assert np.mean(again) == pytest.approx(np.mean(values), abs=0.006)


def test_the_convolutional_network_alone_minds() -> None:
    data = load("shuffle").data
    mean, low, high = data["losses"]["fcnn"]["pixels"]
    assert abs(mean) < 0.01
    assert low < 0 < high
    assert data["losses"]["cnn"]["pixels"][2] < 0
    values = data["accuracies"]["cnn"]["pixels"]
    half = 2.5706 * np.std(values, ddof=1) / 6**0.5  # Student's t for 5 degrees of freedom
    mean = np.mean(values)
    assert data["summary"]["cnn"]["pixels"] == pytest.approx([mean, mean - half, mean + half])


def test_the_sum_in_another_order() -> None:
    data = load("shuffle").data
    pixels, weights, there = (np.array(data[name]) for name in ("patch", "weights", "order"))
    # 1·1 - 0 + 0 - 2·1 + 2·1 - 1·1
    assert int(pixels @ weights) == int(pixels[there] @ weights[there]) == 0
    assert int(pixels[there] @ weights) == -3
    assert "= -3" in printed(load("shuffle"))


# photo


def test_the_network_is_as_good_as_its_file_says() -> None:
    """All test photos are drawn again."""
    net, about = photo_model.load_net()
    per_class = int(about["test_n"]) // len(CLASSES)
    assert about["classes"].split(",") == list(CLASSES)
    hits = 0
    for place, label in enumerate(CLASSES):
        drawn = [
            photo_model.shrink(photo_model.draw_photo(label, photo_model.FIRST_TEST + number))
            for number in range(per_class)
        ]
        found = photo.shares(net, photo_model.as_input(np.stack(drawn).round()))
        hits += int((found.argmax(1) == place).sum())
    # Other processors may round otherwise.
    assert hits == pytest.approx(int(about["test_hits"]), abs=2)
    assert f"Right for {about['test_hits']} of {about['test_n']}" in load("photo").data["tests"]


def test_the_photos_on_the_page_were_in_neither_set() -> None:
    firsts = photo_model.FIRST_TRAIN, photo_model.FIRST_TEST, photo_model.FIRST_SHOWN
    assert np.diff(firsts).min() > 10_000


def test_changes_are_those_of_the_library() -> None:
    assert photo.change() == pytest.approx(np.eye(3))
    # The mirror: the first column comes from the last.
    assert photo.change(flip=True)[0] == pytest.approx([-1, 0, photo_model.DRAWN - 1])
    # Right by a quarter: what is at 48 comes from 0.
    assert photo.change(right=0.25) @ [48, 0, 1] == pytest.approx([0, 0, 1])
    # A quarter of the area: the corner of the middle comes to the corner.
    corner = photo.change(crop=0.25) @ [-0.5, -0.5, 1]
    assert corner == pytest.approx([47.5, 47.5, 1])
    # A quarter turn counter-clockwise: the upper left comes from the upper right.
    assert photo.change(degrees=90) @ [0, 0, 1] == pytest.approx([191, 0, 1])


def test_the_terminal_tells_the_photo() -> None:
    text = printed(load("photo"))
    assert "46,997 parameters in all" in text
    assert "95 % interval" in text
    assert "R²" in text


def test_the_weights_are_small() -> None:
    data = load("photo").data
    assert len(data["weights"]) < 150_000
    total = sum(len(one["jpeg"]) for one in data["photos"])
    assert total < 100_000
