"""Features and heads against the plain way: Pillow, PyTorch, scikit-learn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import photos
from convscope.data.images import decode_photo, read_bytes, square
from convscope.data.survey import DecodeSpec
from convscope.nets.catalog import NetSpec, build_net, net_spec
from convscope.nets.weights import load_body, read_weights
from convscope.transfer import features as features_module
from convscope.transfer.features import (
    CALIBRATION_COSINE,
    Mode,
    choose_precision,
    cosines,
    extract_features,
)
from convscope.transfer.heads.linear import DEFAULT_STRENGTH, fit_linear_head
from convscope.transfer.push import push
from convscope.transfer.shards import SHARD, Shards
from learnable import settled_net

FULL = net_spec("mobilenet_v2")
# The same network on smaller photos: a test of seconds.
SPEC = replace(FULL, input=(3, 64, 64), resize=72)


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    return settled_net(3, side=64)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Of the input's size: however they are decoded, the pixels are the same."""
    return [photos.save_texture(tmp_path / f"{i}.jpg", i, width=80, height=72) for i in range(20)]


def plain_pixels(file: Path, spec: NetSpec) -> np.ndarray:
    """What everybody writes: shorter side resized, centre cropped."""
    image = Image.open(file).convert("RGB")
    short, long = sorted(image.size)
    longer = int(spec.resize * long / short)  # torchvision's rounding
    size = (spec.resize, longer) if image.width == short else (longer, spec.resize)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((image.width - spec.size) / 2), round((image.height - spec.size) / 2)
    return np.asarray(image.crop((left, top, left + spec.size, top + spec.size)))


def plain_features(net: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    """ImageNet's mean and deviation, the network as it is."""
    x = (pixels.astype(np.float32) / 255 - np.array(SPEC.mean)) / np.array(SPEC.std)
    with torch.inference_mode():
        photos = torch.from_numpy(x).permute(0, 3, 1, 2).float()
        return net.get_submodule("features")(photos).mean((2, 3)).numpy()


def our_pixels(files: list[Path]) -> np.ndarray:
    """An untrained network magnifies a difference of one grey level: so the same pixels to both.

    That they are the plain way's pixels up to rounding is tested with the data.
    """
    photos = [decode_photo(read_bytes(file)) for file in files]
    return np.stack([square(photo, SPEC.resize, SPEC.size) for photo in photos])


@pytest.mark.parametrize("workers", [0, 2])
def test_exact_features_are_the_plain_ones(
    net: torch.nn.Module, files: list[Path], workers: int
) -> None:
    many = files * 2  # enough for worker processes and lanes
    got = extract_features(many, net, SPEC, mode="exact", workers=workers)
    assert got.precision.dtype == "float32"
    assert cosines(got.vectors, plain_features(net, our_pixels(many))).min() > 0.9999


def test_fast_features_are_close(net: torch.nn.Module, files: list[Path]) -> None:
    got = extract_features(files, net, SPEC, mode="fast")
    assert got.precision.mode == "fast"
    assert cosines(got.vectors, plain_features(net, our_pixels(files))).min() > 0.997


@pytest.mark.shared
@pytest.mark.parametrize(("mode", "least"), [("exact", 0.9999), ("fast", 0.998)])
def test_features_of_real_photos_are_the_plain_ones(shared: Path, mode: Mode, least: float) -> None:
    net = build_net(FULL, 10, seed=0).eval()
    load_body(net, read_weights(shared / "weights/mobilenet_v2_imagenet.safetensors"))
    files = sorted((shared / "images/clothing/test").rglob("*.jpg"))[::12]
    got = extract_features(files, net, FULL, mode=mode)
    plain = plain_features(net, np.stack([plain_pixels(file, FULL) for file in files]))
    assert len(files) > 25
    assert cosines(got.vectors, plain).min() >= least


def test_fast_mode_without_fast_bfloat16_stays_in_float32(
    net: torch.nn.Module, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_module, "bfloat16_is_fast", lambda: False)
    chosen = choose_precision(files, net, SPEC, "fast")
    assert (chosen.mode, chosen.dtype) == ("fast", "float32")
    assert chosen.cosine is not None
    assert chosen.cosine > CALIBRATION_COSINE


def test_fast_mode_keeps_as_many_stages_in_float32_as_it_takes(
    net: torch.nn.Module, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_module, "bfloat16_is_fast", lambda: True)
    monkeypatch.setattr(features_module, "CALIBRATION_COSINE", 0.9)
    loose = choose_precision(files, net, SPEC, "fast")
    assert loose.dtype == "bfloat16"
    monkeypatch.setattr(features_module, "CALIBRATION_COSINE", 0.99999)
    strict = choose_precision(files, net, SPEC, "fast")
    assert strict.dtype == "float32" or strict.float32_stages > loose.float32_stages
    monkeypatch.setattr(features_module, "CALIBRATION_COSINE", 1.1)
    assert choose_precision(files, net, SPEC, "fast").mode == "exact"


def test_an_unreadable_photo_has_no_features_and_moves_no_other(
    net: torch.nn.Module, files: list[Path]
) -> None:
    whole = extract_features(files[:3], net, SPEC, mode="exact").vectors
    files[1].write_text("no photo")
    got = extract_features(files[:3], net, SPEC, mode="exact")
    assert [fact.usable for fact in got.facts] == [True, False, True]
    assert not got.vectors[1].any()
    np.testing.assert_allclose(got.vectors[[0, 2]], whole[[0, 2]], atol=1e-5)


def test_push_keeps_the_order_and_gives_the_threads_back(tmp_path: Path) -> None:
    files = []
    for i in range(40):
        files.append(tmp_path / f"{i}.png")
        Image.new("RGB", (8, 8), (i, 0, 0)).save(files[-1])
    before = torch.get_num_threads()
    seen = [
        int(value)
        for _, output in push(files, DecodeSpec(8, 8), lambda p: p[:, 0, 0, :1], workers=2)
        for value in output[:, 0]
    ]
    assert seen == list(range(40))
    assert torch.get_num_threads() == before


def test_push_hands_on_what_goes_wrong(tmp_path: Path) -> None:
    files = [photos.save_texture(tmp_path / f"{i}.png", i) for i in range(40)]

    def broken(_: np.ndarray) -> np.ndarray:
        raise ValueError("no such layer")

    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="no such layer"):
        list(push(files, DecodeSpec(8, 8), broken, workers=0))
    assert torch.get_num_threads() == before


def test_shards_give_back_what_was_kept(
    net: torch.nn.Module, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convscope.transfer.shards.SHARD", 8)
    files[3].write_text("no photo")
    shards = Shards(tmp_path / "shards")
    whole = extract_features(files, net, SPEC, mode="exact", workers=0, shards=shards)
    names = sorted(path.name for path in shards.folder.iterdir())
    assert names == ["000000000.npz", "000000008.npz"]

    # The second try computes only what is missing.
    asked: list[int] = []
    real = features_module.push

    def spy(paths: list[Path], *rest: object, **options: object) -> object:
        asked.append(len(paths))
        return real(paths, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(features_module, "push", spy)
    again = extract_features(
        files, net, SPEC, mode="exact", workers=0, shards=Shards(shards.folder)
    )
    assert asked == [4]
    np.testing.assert_array_equal(again.vectors[:16], whole.vectors[:16])
    np.testing.assert_allclose(again.vectors, whole.vectors, atol=1e-6)
    for a, b in zip(again.facts, whole.facts, strict=True):
        assert (a.error, a.format, a.width, a.height, a.sha256) == (
            b.error, b.format, b.width, b.height, b.sha256,
        )  # fmt: skip
        np.testing.assert_array_equal(a.thumb, b.thumb)


def test_a_broken_shard_is_computed_again(
    net: torch.nn.Module, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convscope.transfer.shards.SHARD", 8)
    shards = Shards(tmp_path / "shards")
    whole = extract_features(files, net, SPEC, mode="exact", workers=0, shards=shards)
    (shards.folder / "000000000.npz").write_bytes(b"PK half")
    again = extract_features(
        files, net, SPEC, mode="exact", workers=0, shards=Shards(shards.folder)
    )
    np.testing.assert_allclose(again.vectors, whole.vectors, atol=1e-6)
    assert SHARD > 8


def blobs(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = np.random.default_rng(99).normal(0, 1.2, (classes, 12))
    scales = np.linspace(0.1, 30, 12)  # features of very different size, as real ones are
    x = (centres[labels] + rng.normal(0, 1.5, (n, 12))) * scales + 5
    return x.astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 4])
def test_head_is_scikit_learns_standardised_regression(classes: int) -> None:
    x, y = blobs(300, classes)
    v, w = blobs(120, classes, seed=1)
    head = fit_linear_head(x, y, v, w, classes)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=head.C, max_iter=5000)).fit(x, y)
    logits = head.logits(v)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, plain.predict_proba(v), atol=2e-3)


def test_strength_is_the_best_on_validation() -> None:
    x, y = blobs(80, 4)
    v, w = blobs(400, 4, seed=1)
    head = fit_linear_head(x, y, v, w, 4)
    losses = {c.C: c.valid_log_loss for c in head.candidates}
    assert min(losses, key=losses.__getitem__) == head.C
    assert len(losses) >= 4
    last = head.candidates[-1]
    assert max(losses) == last.C
    # Neither end of the range: the search had room on both sides.
    assert min(losses) < head.C < max(losses)


def test_without_validation_the_strength_is_the_default() -> None:
    x, y = blobs(60, 3)
    head = fit_linear_head(x, y, x[:0], y[:0], 3)
    assert head.C == DEFAULT_STRENGTH
    assert head.candidates == ()
    assert (head.logits(x).argmax(axis=1) == y).mean() > 0.7


def test_a_feature_that_never_changes_does_no_harm() -> None:
    x, y = blobs(60, 3)
    x[:, 0] = 7.0
    head = fit_linear_head(x, y, x, y, 3)
    assert np.isfinite(head.weight).all()
    assert np.isfinite(head.bias).all()
