"""What a network is asked, and that asking leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.errors import InputError
from convscope.explain.asking import Question, ask, device_of, dtype_of, left_as_found, scores_of
from convscope.explain.result import Explanation


class Says(nn.Module):
    """A network that is a function."""

    def __init__(self, says: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.says = says

    def forward(self, x: Tensor) -> Any:
        return self.says(x)


def sums(x: Tensor) -> Tensor:
    """Three classes: the sum, its double, and 0."""
    total = x.flatten(1).sum(1)
    return torch.stack([total, 2 * total, 0 * total], 1)


def flat_net(inputs: int, classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes))


def conv_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 5),
    )  # fmt: skip


def question(net: nn.Module, images: Any, target: Any = None, of: Any = "logit") -> Question:
    with left_as_found(net):
        return ask(net, images, target, of)


def pictures(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("target", "lead", "wanted"),
    [
        (None, (2,), [[1], [2]]),  # of a sum below 0, the class that is always 0
        (0, (2,), [[0], [0]]),
        (np.int64(2), (2,), [[2], [2]]),
        ([0, 2], (2,), [[0], [2]]),
        (torch.tensor([0, 2], dtype=torch.uint8), (2,), [[0], [2]]),
        (np.array([[0, 1, 2], [2, 2, 0]]), (2, 3), [[0, 1, 2], [2, 2, 0]]),
        ([torch.tensor(0), torch.tensor(1)], (2,), [[0], [1]]),
    ],
)
def test_targets_of_several_images(target: Any, lead: tuple[int, ...], wanted: Any) -> None:
    images = torch.ones(2, 1, 2, 2)
    images[1] = -1
    found = question(Says(sums), images, target)
    assert found.lead == lead
    assert found.targets.tolist() == wanted
    outputs = torch.tensor([[4.0, 8.0, 0.0], [-4.0, -8.0, 0.0]])
    assert torch.equal(found.outputs, outputs)
    np.testing.assert_array_equal(
        found.scores, np.take_along_axis(outputs.numpy(), np.array(wanted), 1)
    )
    shares = question(Says(sums), images, target, "probability").scores
    np.testing.assert_allclose(shares, outputs.softmax(1).gather(1, found.targets))


@pytest.mark.parametrize(("target", "lead"), [(None, ()), (1, ()), ([1], (1,)), ([0, 2], (2,))])
def test_targets_of_one_image(target: Any, lead: tuple[int, ...]) -> None:
    found = question(Says(sums), torch.ones(1, 2, 2), target)
    assert found.lead == lead
    assert found.shaped(found.scores).shape == lead
    assert found.shaped(np.zeros((1, max(1, len(lead) and lead[0]), 2, 2))).shape == (*lead, 2, 2)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (3, "Target 3: the network has 3 outputs, 0 to 2"), (-1, "Target -1"),
        ([0, 9], "Target 9"), ([0, 1, 2], r"Targets of shape \(3\) for 2 image"),
        ([[[0]], [[1]]], r"Targets of shape \(2, 1, 1\)"), (2**70, "numbers of classes"),
        (True, "not True or False"), ([True, False], "numbers of classes"), (1.0, "numbers of cl"),
        ("cat", "numbers of classes; received 'cat'"), ([[1, 2], [1]], "numbers of classes"),
        ([], "numbers of classes"), (1j, "numbers of classes"), ({0, 1}, "numbers of classes"),
        (np.full(500, 1.5), r"received array.*\.\.\.\."),
    ],
)  # fmt: skip
def test_targets_that_are_none(target: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        question(Says(sums), torch.ones(2, 1, 2, 2), target)


def test_an_array_of_targets_that_is_read_only() -> None:
    target = np.array([0, 2])
    target.setflags(write=False)
    assert question(Says(sums), torch.ones(2, 1, 2, 2), target).targets.tolist() == [[0], [2]]


# --- inputs


@pytest.mark.parametrize(
    "given",
    [
        lambda x: x,
        lambda x: x.numpy(),
        lambda x: x.tolist(),
        lambda x: list(x),
        lambda x: tuple(x.numpy()),
        lambda x: x.double(),
        lambda x: x.numpy().astype(">f4"),
        lambda x: x.numpy()[:, :, ::-1].copy()[:, :, ::-1],
        lambda x: np.broadcast_to(x.numpy(), x.shape),  # read-only
        lambda x: x.clone().requires_grad_(),
        lambda x: x.clone().requires_grad_() * 1,
    ],
)
def test_what_images_may_be(given: Callable[[Tensor], Any]) -> None:
    x = pictures(2, 3, 6, 5)
    found = question(conv_net(), given(x), 0)
    assert torch.equal(found.images, x)
    assert not found.images.requires_grad
    assert found.space == (6, 5)


def test_images_are_copied() -> None:
    for given in (pictures(2, 3, 6, 5), pictures(3, 6, 5), pictures(2, 3, 6, 5).numpy()):
        before = given.clone() if isinstance(given, Tensor) else given.copy()
        found = question(conv_net(), given, 0)
        found.images.zero_()
        assert (given == before).all()
    x = pictures(2, 3, 6, 5)
    question(nn.Sequential(nn.ReLU(inplace=True), conv_net()), x, 0)
    assert torch.equal(x, pictures(2, 3, 6, 5))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("photo.jpg", "received 'photo.jpg'"), (None, "received None"),
        ([torch.ones(3, 5, 5), torch.ones(3, 6, 5)], "have one shape"),
        ([[1.0, 2.0], [1.0]], "have one shape"), (torch.ones(2, 3, 6, 5).byte(), "are uint8"),
        (np.ones((2, 3, 6, 5), np.int64), "these are int64"),
        (torch.ones(2, 3, 6, 5, dtype=torch.complex64), "these are complex64"),
        (torch.ones(5), "Images of shape"), (torch.ones(1, 2, 3, 6, 5), "Images of shape"),
        (torch.ones(2, 3, 0, 5), "none of them 0"), (torch.tensor(1.0), "Images of shape"),
        (np.full((2, 3, 6, 5), 1e300), r"infinity, first at \(0, 0, 0, 0\), as float32"),
        (torch.ones(2, 4, 6, 5), "Sequential cannot take images of shape .2, 4, 6, 5.: .*channels"),
    ],
)  # fmt: skip
def test_what_images_may_not_be(given: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        question(conv_net(), given, 0)


class Takes(nn.Module):
    """Says nothing of why it refuses."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] == 5:
            raise AssertionError
        if x.shape[-1] == 6:
            raise torch.OutOfMemoryError("none left")
        return x.mean((1, 2, 3))[:, None]


def test_why_a_network_takes_no_such_image() -> None:
    with pytest.raises(InputError, match=r"shape \(3, 4, 5\): AssertionError") as caught:
        question(Takes(), torch.ones(3, 4, 5))
    assert isinstance(caught.value.__cause__, AssertionError)
    with pytest.raises(torch.OutOfMemoryError, match="none left"):  # not the shape's fault
        question(Takes(), torch.ones(1, 3, 4, 6))


class OverTime(nn.Module):
    """Of series, by an average over time: no convolution tells that it is of series."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(x.mean(-1))
        return answer


class AsPicture(nn.Module):
    """Of series, with a convolution in two dimensions inside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.conv(x[:, None]).mean((2, 3))
        return answer


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.lstm(x.transpose(1, 2))[0]
        return hidden[:, -1]


def test_three_dimensions_are_an_image_or_several_series() -> None:
    torch.manual_seed(0)
    image = question(conv_net(), pictures(3, 8, 7))
    assert (image.lead, image.space, len(image.images)) == ((), (8, 7), 1)
    grey = question(flat_net(12), pictures(1, 3, 4))
    assert (grey.lead, grey.space) == ((), (3, 4))
    convolved = nn.Sequential(nn.Conv1d(3, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    for net in (convolved, flat_net(21), OverTime(), AsPicture(), Recurrent()):
        several = question(net, pictures(2, 3, 7))
        assert (several.lead, several.space, len(several.images)) == ((2,), (7,), 2)
        one = question(net, pictures(2, 3, 7)[0])
        assert (one.lead, one.space) == ((), (7,))
        assert torch.equal(one.images[0], several.images[0])
    assert question(convolved, pictures(1, 3, 7)).lead == (1,)


@pytest.mark.parametrize(
    ("says", "said"),
    [
        (lambda x: {"logits": sums(x)}, "gives a dict"), (lambda x: [sums(x)], "gives a list"),
        (lambda x: sums(x)[:, :, None], r"gives \(2, 3, 1\) for 2 images"),
        (lambda x: sums(x).mean(0, keepdim=True), r"gives \(1, 3\) for 2 images"),
        (lambda x: sums(x).argmax(1, keepdim=True), "gives int64; explanations need scores"),
        (lambda x: sums(x)[:, :0], "has no outputs"),
        (lambda x: sums(x) * float("nan"), "logit of class 0 is nan for image 0"),
        (lambda x: sums(x) + float("inf"), "logit of class 0 is inf for image 0"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be_explained(says: Callable[[Tensor], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        question(Says(says), torch.ones(2, 1, 2, 2))


def test_a_class_that_is_ruled_out_does_not_matter_to_the_others() -> None:
    net = Says(lambda x: sums(x).index_fill(1, torch.tensor(2), float("-inf")))
    found = question(net, torch.ones(2, 1, 2, 2), [0, 1], "probability")
    np.testing.assert_allclose(found.scores, torch.tensor([[4.0, 8.0]]).softmax(1).T, rtol=1e-6)
    with pytest.raises(InputError, match="logit of class 2 is -inf for image 1"):
        question(net, torch.ones(2, 1, 2, 2), [0, 2])


# --- left as found


def test_seeded_inside_and_untouched_outside() -> None:
    torch.manual_seed(8)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    seeded = torch.rand(4)
    torch.manual_seed(8)
    with left_as_found(conv_net(), 3):
        # conv_net() seeds too, before the context.
        assert torch.equal(torch.rand(4), seeded)
    torch.manual_seed(8)
    net = flat_net(4)
    torch.manual_seed(8)
    with left_as_found(net, 3):
        torch.rand(7)
    assert torch.equal(torch.rand(4), wanted)


class Counts(nn.Module):
    """Buffers that a pass changes: in place, by a new one, by one more; one is None."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("within", torch.zeros(1))
        self.register_buffer("anew", torch.zeros(1))
        self.register_buffer("nothing", None)
        self.within: Tensor
        self.anew: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.within += 1
        self.anew = self.anew + 1
        self.register_buffer("more", torch.ones(1))
        return sums(x) + self.anew


def test_buffers_are_put_back_however_they_change() -> None:
    net = Counts()
    within, anew = net.within, net.anew
    question(net, torch.ones(2, 1, 2, 2))
    assert net.within is within
    assert net.anew is anew
    assert within == anew == 0
    assert dict(net.named_buffers()).keys() == {"within", "anew"}
    assert net.nothing is None


@pytest.mark.parametrize(("width", "said"), [(3, "Target 7"), (4, "cannot take")])
def test_put_back_after_a_failure(width: int, said: str) -> None:
    net = nn.Sequential(Counts(), nn.Linear(width, 2))
    net.train()
    net[0].eval()
    net[1].bias.requires_grad_(False)
    torch.manual_seed(4)
    wanted = torch.rand(2)
    torch.manual_seed(4)
    with pytest.raises(InputError, match=said):
        question(net, torch.ones(2, 1, 2, 2), 7)
    assert torch.equal(torch.rand(2), wanted)
    assert (net.training, net[0].training, net[1].training) == (True, False, True)
    assert net[1].weight.requires_grad
    assert not net[1].bias.requires_grad
    assert net[0].within == net[0].anew == 0


def test_what_is_made_in_inference_mode_has_gradients_inside_and_is_the_same_outside() -> None:
    with torch.inference_mode():
        shared = nn.Linear(3, 3)
        net = nn.Sequential(conv_net(), nn.Linear(5, 3), shared, shared)
        x, target = pictures(2, 3, 6, 5), torch.tensor([0, 1])
        wanted = net(x)
    before = list(net.named_parameters()) + list(net.named_buffers())
    values = [value.clone() for _, value in before]
    for mode in (True, False):
        with torch.inference_mode(mode), left_as_found(net):
            asked = ask(net, x, target)
            assert net[2].weight is net[3].weight
            given = asked.images.clone().requires_grad_()
            scores_of(net(given), asked.targets, "logit").sum().backward()
            assert given.grad is not None
            assert given.grad.any()
    after = list(net.named_parameters()) + list(net.named_buffers())
    for (name, old), (other, new), value in zip(before, after, values, strict=True):
        assert name == other
        assert old is new
        assert torch.equal(new, value)
    with torch.inference_mode():
        assert torch.equal(net(x), wanted)
        with left_as_found(net), torch.no_grad():  # weights are the caller's to change
            net[1].weight.fill_(2.0)
        assert (net[1].weight == 2).all()
    assert net[1].weight.is_inference()


def test_within_autocast_the_answer_is_the_same() -> None:
    net, x = conv_net(), pictures(2, 3, 6, 5)
    wanted = question(net, x).outputs
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(question(net, x).outputs, wanted)
        assert torch.is_autocast_enabled("cpu")
        assert net[0](x).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_become_what_the_network_takes(dtype: torch.dtype) -> None:
    net = conv_net().to(dtype)
    found = question(net, pictures(2, 3, 6, 5), 1)
    assert found.images.dtype == dtype == dtype_of(net)
    scores = found.shaped(found.scores)
    assert scores.shape == (2,)
    np.testing.assert_array_equal(scores, found.scores[:, 0].double())


class OfBuffers(nn.Module):
    """Frozen: no parameters, and a buffer that is no number with a fraction before one that is."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.tensor(3))
        self.register_buffer("weight", torch.ones(4, 3, dtype=torch.float64))
        self.weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight


def test_device_and_type_of_a_network_without_parameters() -> None:
    assert dtype_of(OfBuffers()) == torch.float64
    assert question(OfBuffers(), torch.ones(1, 2, 2)).scores.item() == 4
    assert dtype_of(Says(sums)) == torch.float32
    assert device_of(Says(sums)) == torch.device("cpu")
    assert device_of(OfBuffers().to("meta")).type == "meta"


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (sums, "must be a torch.nn.Module; this is function"),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), "has lazy layers that have not seen"),
        (nn.Sequential(nn.LazyBatchNorm2d(affine=False)), "has lazy layers that have not seen"),
    ],
)
def test_what_is_no_network_yet(net: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        question(net, torch.ones(2, 1, 2, 2))


# --- the result


def explanation(lead: tuple[int, ...], **details: Any) -> Explanation:
    return Explanation(
        map=np.zeros((*lead, 4, 5), np.float32), signed=True, target=np.zeros(lead, np.int64),
        score=np.arange(np.prod(lead), dtype=float).reshape(lead), of="logit", method="made up",
        parameters={"window": (2, 2)}, seconds=6.0, forwards=12.0, details=details,
    )  # fmt: skip


def test_details_are_taken_apart_where_they_are_of_each() -> None:
    found = explanation(
        (2, 3), each=np.arange(6).reshape(2, 3), maps=np.zeros((2, 3, 4)),
        lists=[[1, 2, 3], [4, 5, 6]], window=(8, 8), name="ab", others=np.zeros((2, 5)),
        number=0.5, table={"a": 1, "b": 2},
    )  # fmt: skip
    one = found[1]
    assert one.details["each"].tolist() == [3, 4, 5]
    assert one.details["maps"].shape == (3, 4)
    assert one.details["lists"] == [4, 5, 6]
    assert one[2].details["lists"] == 6
    for name in ("window", "name", "number", "table"):
        assert one.details[name] == found.details[name]
    assert one.details["others"].shape == (2, 5)
    assert (one.seconds, one.forwards) == (3.0, 6.0)
    assert (one[0].seconds, one[0].forwards) == (1.0, 2.0)
    assert one[-1].score == 5
    assert one[np.int64(1)].score == 4
    assert found.score.shape == (2, 3)


def test_which_explanations_there_are() -> None:
    found = explanation((3,))
    assert [float(one.score) for one in found] == [0, 1, 2]
    for place in (3, -4):
        with pytest.raises(IndexError, match=f"There are 3 explanations; {place} is not"):
            found[place]
    for wrong in (slice(0, 2), 1.0, "a", None):
        with pytest.raises(TypeError, match="Give the number of one explanation"):
            found[wrong]  # type: ignore[index]
    with pytest.raises(TypeError, match="no length"):
        found[0][0]
