"""A network's answers to changed inputs are those of plain passes, however they are computed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from convscope.errors import InputError
from convscope.explain.asking import left_as_found
from convscope.incremental import Changes, Engine, grouping, regions, remember
from convscope.incremental import engine as engine_module
from convscope.incremental.engine import IncrementalEngine
from convscope.incremental.plain import PlainEngine
from test_geometry_random import CHANNELS, random_net, small

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

# Float32 rounds; relative to the largest output.
CLOSE = 1e-5


def plain_answers(model: nn.Module, images: Tensor, changes: Changes) -> Tensor:
    """Every changed input through the network itself, one by one."""
    found = []
    content = changes.content(torch.arange(len(changes.image)))
    for place, start in enumerate(changes.start.tolist()):
        image = images[changes.image[place]].clone()
        box = tuple(slice(a, a + n) for a, n in zip(start, changes.size, strict=True))
        image[(slice(None), *box)] = content[place]
        with torch.no_grad():
            found.append(model(image[None]))
    return torch.cat(found)


def everywhere(
    images: Tensor, size: Sequence[int], step: int = 1, seed: int = 0, most: int = 60
) -> Changes:
    """Boxes of noise at all borders and corners and in between, on any of the images."""
    generator = torch.Generator().manual_seed(seed)
    along = [
        sorted({*range(0, length - n + 1, step), length - n})
        for length, n in zip(images.shape[2:], size, strict=True)
    ]
    starts = torch.tensor(list(itertools.product(*along)))
    corners = torch.tensor(list(itertools.product(*[(a[0], a[-1]) for a in along])))
    some = torch.randperm(len(starts), generator=generator)[:most]
    starts = torch.cat([corners, starts[some]])
    content = torch.randn(len(starts), images.shape[1], *size, generator=generator)
    image = torch.randint(0, len(images), (len(starts),), generator=generator)
    return Changes(image, starts, tuple(size), lambda rows: content[rows])


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def collected(engine: Engine, changes: Changes) -> Tensor:
    """All answers, each row exactly once."""
    found = torch.full((len(changes.image), engine.outputs.shape[1]), torch.nan)
    for rows, outputs in engine.answers(changes):
        assert found[rows].isnan().all()
        found[rows] = outputs
    assert not found.isnan().any()
    return found


def assert_exact(
    model: nn.Module,
    images: Tensor,
    changes: Changes,
    *,
    local: bool | None = True,
    max_memory: int = 2**30,
) -> Engine:
    """As plain passes, relative to the largest output; and by parts, or not, as is said."""
    with left_as_found(model):
        wanted = plain_answers(model, images, changes)
        engine = remember(model, images, max_memory=max_memory)
        found = collected(engine, changes)
        torch.testing.assert_close(
            engine.outputs, model(images.clone()), atol=CLOSE * float(wanted.abs().max()), rtol=0
        )
    torch.testing.assert_close(found, wanted, atol=CLOSE * float(wanted.abs().max()), rtol=0)
    assert not torch.equal(wanted, engine.outputs[changes.image])  # something did change
    if local is not None:
        assert (engine.why is None) == local, engine.why
    return engine


@pytest.fixture
def always_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small maps are cut, too, where it is not worth it, and boxes come in as many groups."""
    monkeypatch.setattr(engine_module, "WORTH_IT", 0.0)
    monkeypatch.setattr(regions, "_NEARLY_WHOLE", 1.0)
    monkeypatch.setattr(grouping, "_ENOUGH", 4)


def head(channels: int, classes: int = 5) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """With batch norms that are not the identity."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)
        model = build()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)
    return model.eval()


class Residual(nn.Module):
    """One in-place ReLU, used twice, and a sum into its own first term."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.relu(self.norm(self.first(x))))
        y += x
        return self.relu(y)


class Branches(nn.Module):
    """Branches of unlike reach and size, joined; what is smaller is padded with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(4, 3, 1)
        self.five = nn.Conv2d(4, 3, 5, padding=2, dilation=1)
        self.valid = nn.Conv2d(4, 3, 3)
        self.pool = nn.MaxPool2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        smaller = functional.pad(self.valid(x), (1, 1, 1, 1))
        return torch.cat([self.one(x), self.five(x), smaller, self.pool(x)], 1)


class ReadBeforeIsWritten(nn.Module):
    """What a first layer reads is clamped in place afterwards, and read again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.a = nn.Conv2d(4, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.end = nn.Sequential(*head(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        before = self.a(x)
        functional.relu(x, True)
        return self.end(before - self.b(x))


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "same": lambda: nn.Conv2d(4, 6, 3, padding="same", dilation=2),
    "same, even": lambda: nn.Conv2d(4, 6, (4, 2), padding="same"),
    "strided": lambda: nn.Conv2d(4, 6, (5, 3), stride=(3, 2), padding=(2, 1)),
    "depth-wise": lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4),
    "grouped": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "unpadded": lambda: nn.Conv2d(4, 6, 3),
    "reflecting": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "norm, relu6": lambda: nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU6(inplace=True)
    ),
    "norm first": lambda: nn.Sequential(
        nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, padding=1)
    ),
    "max, ceil": lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    "max, dilated": lambda: nn.MaxPool2d(2, 2, padding=1, dilation=2),
    "average": lambda: nn.AvgPool2d(3, 2, 1),
    "average, ceil": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "average of what is there": lambda: nn.AvgPool2d(
        (3, 2), 2, 1, ceil_mode=True, count_include_pad=False
    ),
    "average by 5": lambda: nn.AvgPool2d(3, 2, 1, divisor_override=5),
    "response norm": lambda: nn.LocalResponseNorm(3, alpha=0.5, beta=0.75, k=2),
    "response norm, even": lambda: nn.LocalResponseNorm(2, alpha=0.5, beta=0.6),
    "padded with a number": lambda: nn.ConstantPad2d((2, -1, 0, 3), 1.5),
    "activations": lambda: nn.Sequential(nn.PReLU(4), nn.Dropout(), nn.SiLU(True), nn.GELU()),
    "residual": lambda: Residual(4),
    "branches": Branches,
    "transposed": lambda: nn.ConvTranspose2d(4, 3, 3, stride=2),
    "instance norm": lambda: nn.InstanceNorm2d(4),
    "resized": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "shuffled": lambda: nn.PixelUnshuffle(2),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("size", [(5, 4), (1, 1)])
@pytest.mark.usefixtures("always_in_parts")
def test_every_layer_in_the_middle_of_a_network(name: str, size: tuple[int, int]) -> None:
    stem = nn.Conv2d(3, 4, 3, padding=1)
    layer = seeded(LAYERS[name])
    with torch.no_grad():
        channels = layer(stem(noise(1, 3, 24, 20))).shape[1]

    def build() -> nn.Module:
        end = [nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(True), *head(4)]
        return nn.Sequential(stem, nn.ReLU(), LAYERS[name](), *end)

    images = noise(2, 3, 24, 20)
    assert_exact(seeded(build), images, everywhere(images, size))


def test_a_deep_network_reads_most_from_memory() -> None:
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(8), nn.ReLU(True),
            nn.MaxPool2d(3, 2, 1), Residual(8), Residual(8),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), Residual(16), *head(16),
        )
    )  # fmt: skip
    images = noise(1, 3, 128, 160)
    engine = assert_exact(net, images, everywhere(images, (16, 16), step=8))
    assert engine.ceiling((16, 16)) > 3
    assert 1 / engine.ceiling((16, 16)) <= engine.share((16, 16)) < 0.5


def test_ceiling_is_arithmetic() -> None:
    """One 3x3 convolution without padding on 10x10, boxes of 2x2: 4x4 of 8x8 units away from ends.

    Per axis, boxes start at 0 to 8 and reach 2, 3, 4, 4, 4, 4, 4, 3, 2 of 8 units.
    """
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    engine = remember(net.eval(), noise(1, 1, 10, 10))
    per_axis = sum([2, 3, 4, 4, 4, 4, 4, 3, 2]) / 9 / 8
    assert engine.ceiling((2, 2)) == pytest.approx(1 / per_axis**2)


def test_values_that_are_written_over_are_remembered_as_they_were_read() -> None:
    images = noise(2, 3, 24, 24)
    assert_exact(seeded(ReadBeforeIsWritten), images, everywhere(images, (4, 4)))


def test_writing_into_a_part_is_left_to_whole_passes() -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.end = nn.Conv2d(3, 4, 3), nn.Sequential(*head(4))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x[:, :2].mul_(3)
            return self.end(x)

    images = noise(1, 3, 24, 24)
    engine = assert_exact(seeded(Part), images, everywhere(images, (4, 4)), local=False)
    assert isinstance(engine, PlainEngine)
    assert "writes into a part" in str(engine.why)


def test_a_gate_over_everything_goes_on_whole() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
            )
            self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
            self.end = nn.Sequential(nn.Conv2d(8, 4, 3), *head(4))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.end(x * self.gate(x))

    images = noise(1, 3, 40, 40)
    assert_exact(seeded(Gated), images, everywhere(images, (4, 4), step=3))


def test_functions_and_computed_sizes() -> None:
    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 3, 3, 3))
            self.scale = nn.Parameter(torch.randn(1, 6, 1, 1))
            self.place = nn.Parameter(torch.randn(1, 6, 12, 12))
            self.fc = nn.Linear(6 * 36, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.relu(functional.conv2d(x, self.weight, None, 2, 1), inplace=True)
            x = x * self.scale / x.size(2)
            x = functional.avg_pool2d(x, 3, 1, 1, False, False) + functional.max_pool2d(x, 3, 1, 1)
            x = functional.max_pool2d(x + self.place, 2).contiguous()
            return self.fc(x.view(x.size(0), -1))

    images = noise(2, 3, 24, 24)
    engine = assert_exact(seeded(Functions), images, everywhere(images, (3, 3)))
    assert isinstance(engine, IncrementalEngine)
    local = {step.node.name for step in engine.program.steps if step.operation is not None}
    # A number from a shape does not stop what follows; a map of numbers per place does.
    assert {"relu", "truediv", "avg_pool2d", "max_pool2d"} <= local
    assert "add_1" not in local


def test_cuts_along_the_axes_and_across_channels() -> None:
    class Cuts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1)
            self.end = nn.Sequential(nn.Conv2d(8, 4, 3), *head(4))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            thinner = functional.pad(x[:, :4, ::2, 1:-2:2], (0, 1, 0, 0, 2, 2))
            return self.end(thinner + x[:, :, ::2, ::2][..., : thinner.size(3)])

    images = noise(1, 3, 32, 32)
    assert_exact(seeded(Cuts), images, everywhere(images, (4, 4), step=3))


@pytest.mark.parametrize("channels", [1, 6])
def test_any_number_of_channels_and_sides(channels: int) -> None:
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1), *head(8),
        )
    )  # fmt: skip
    images = noise(3, channels, 40, 64)
    assert_exact(net, images, everywhere(images, (8, 6), step=5))


def test_causal_series() -> None:
    from convscope.nets.catalog import build_net, net_spec

    net = build_net(net_spec("tcn"), 3, 0, in_channels=2)
    images = noise(2, 2, 64)
    engine = assert_exact(net, images, everywhere(images, (1,)))
    assert engine.share((1,)) < 0.6


@pytest.mark.parametrize("size", [(24, 24), (24, 2), (23, 24)])
@pytest.mark.usefixtures("always_in_parts")
def test_boxes_as_long_as_the_input(size: tuple[int, int]) -> None:
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), *head(4)))
    images = noise(1, 3, 24, 24)
    assert_exact(net, images, everywhere(images, size), local=None)


def test_memory_is_bounded_and_images_take_turns() -> None:
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), *head(16)
        )
    )
    images = noise(4, 3, 48, 48)
    # Of one image, 48 * 48 * 19 numbers are remembered: one image at a time.
    assert_exact(net, images, everywhere(images, (6, 6), step=7), max_memory=400_000)


def test_hooks_see_whole_maps() -> None:
    seen: list[tuple[int, ...]] = []
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), *head(4)))
    handle = net[0].register_forward_hook(
        lambda module, args, output: seen.append(tuple(args[0].shape[2:])) or output * 2
    )
    images = noise(1, 3, 24, 24)
    engine = assert_exact(net, images, everywhere(images, (4, 4)), local=False)
    handle.remove()
    assert "layer 0 has hooks" in str(engine.why)
    assert set(seen) == {(24, 24)}


def test_what_cannot_be_traced_is_run_whole() -> None:
    class Decides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.end = nn.Conv2d(3, 4, 3), nn.Sequential(*head(4))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.end(x if x.sum() > 0 else -x)

    images = noise(2, 3, 24, 24)
    engine = assert_exact(seeded(Decides), images, everywhere(images, (4, 4)), local=False)
    assert "could not be traced" in str(engine.why)


def test_where_almost_everything_changes_whole_passes_say_so() -> None:
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5)))
    images = noise(1, 3, 8, 8)
    engine = assert_exact(net, images, everywhere(images, (2, 2)), local=False)
    assert engine.ceiling((2, 2)) == pytest.approx(1)
    assert engine.share((2, 2)) == 1
    assert "100% of the multiply-adds" in str(engine.why)


def test_the_network_is_left_as_it_is() -> None:
    net = seeded(lambda: nn.Sequential(Residual(3), *head(3)))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images = noise(1, 3, 24, 24)
    kept = images.clone()
    random = torch.random.get_rng_state()
    assert_exact(net, images, everywhere(images, (4, 4)))
    assert torch.equal(images, kept)
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_fast_answers_are_close() -> None:
    net = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), Residual(32), *head(32))
    )
    images = noise(1, 3, 48, 48)
    changes = everywhere(images, (8, 8), step=5)
    with left_as_found(net):
        wanted = plain_answers(net, images, changes)
        found = collected(remember(net, images, "fast"), changes)
    assert found.dtype == torch.float32
    assert (found - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_double_precision_stays() -> None:
    net = seeded(lambda: nn.Sequential(Residual(3), *head(3))).double()
    images = noise(1, 3, 24, 24).double()
    changes = everywhere(images, (4, 4))
    with left_as_found(net):
        found = dict_of(remember(net, images), changes)
        wanted = plain_answers(
            net, images, Changes(changes.image, changes.start, changes.size,
                                 lambda rows: changes.content(rows).double()),
        )  # fmt: skip
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)


def dict_of(engine: Engine, changes: Changes) -> Tensor:
    found = engine.outputs.new_zeros(len(changes.image), engine.outputs.shape[1])
    for rows, outputs in engine.answers(changes):
        found[rows] = outputs
    return found


@pytest.mark.parametrize(
    ("image", "start", "size", "says"),
    [
        ([1], [[0, 0]], (2, 2), "there are 1"),
        ([0], [[7, 0]], (2, 2), "axis 0"),
        ([0], [[0, -1]], (2, 2), "axis 1"),
        ([0], [[0]], (2,), "2 axes"),
        ([0, 0], [[0, 0]], (2, 2), "2 changes"),
    ],
)
def test_boxes_outside_are_refused(
    image: list[int], start: list[list[int]], size: tuple[int, ...], says: str
) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), *head(2)).eval()
    changes = Changes(
        torch.tensor(image), torch.tensor(start), size, lambda rows: torch.zeros(len(rows), 1, 2, 2)
    )
    for engine in (remember(net, noise(1, 1, 8, 8)), PlainEngine(net, noise(1, 1, 8, 8), "asked")):
        with pytest.raises(InputError, match=says):
            list(engine.answers(changes))


def test_no_changes_have_no_answers() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), *head(2)).eval()
    nothing = Changes(torch.zeros(0).long(), torch.zeros(0, 2).long(), (2, 2), lambda rows: rows)
    assert list(remember(net, noise(1, 1, 8, 8)).answers(nothing)) == []


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(InputError, match="exact"):
        remember(nn.Sequential(nn.Conv2d(1, 2, 3)), noise(1, 1, 8, 8), "exakt")  # type: ignore[arg-type]


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.usefixtures("always_in_parts")
@settings(
    max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(data=st.data())
def test_random_networks(axes: int, data: st.DataObject) -> None:
    sizes = [data.draw(small(3, 12 if axes == 1 else 7)) for _ in range(axes)]
    net = random_net(data.draw, axes, sizes, endless=False)

    class Answers(nn.Module):
        """Every unit weighs in, so that no wrong one goes unseen."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).flatten(1)

    images = noise(2, CHANNELS, *sizes)
    size = [data.draw(small(1, max(1, length // 2))) for length in sizes]
    changes = everywhere(images, size, most=12, seed=data.draw(small(0, 99)))
    model = Answers().eval()
    with left_as_found(model):
        wanted = plain_answers(model, images, changes)
        engine = remember(model, images)
        found = collected(engine, changes)
    assert isinstance(engine, IncrementalEngine), engine.why
    scale = max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(found, wanted, atol=CLOSE * scale, rtol=0)
