"""Heads on features against scikit-learn's own figures, and how settings and heads are chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC

from convscope.calibration import fit_temperature, probabilities
from convscope.errors import InputError
from convscope.metrics import calibration_error
from convscope.transfer.heads import (
    HEADS,
    FittedHead,
    best_head,
    build_head,
    choosing,
    fit_head,
    fit_heads,
    forest,
    linear,
    neighbours,
    network,
    svm,
)
from convscope.transfer.heads.linear import fit_linear_head
from convscope.transfer.heads.modules import Forest, Neighbours
from convscope.transfer.heads.parts import Part, fold_numbers, plan_parts

WIDTH = 12


@pytest.fixture(autouse=True, scope="module")
def less_work() -> Iterator[None]:
    """A tenth of the trees and of the units: what is tested does not depend on how many."""
    grids: dict[str, Any] = {
        "forest": [{"trees": 30, "features_per_cut": many} for many in (1.0, 2.0)],
        "fcnn": [{"hidden": hidden, "dropout": 0.1} for hidden in ([32], [24, 12])],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "LEARNING_RATE", 0.01)
        patch.setattr(network, "MOST_EPOCHS", 20)
        for name, grid in grids.items():
            kind = replace(choosing._KINDS[name], grid=tuple(grid), default=grid[0])
            patch.setitem(choosing._KINDS, name, kind)
        yield


def blobs(
    n: int, classes: int, seed: int, width: int = WIDTH, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Classes that overlap a little, with features of very different scales and offsets."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = np.random.default_rng(99).normal(0, 1, (classes, width))
    features = centres[labels] + rng.normal(0, noise, (n, width))
    scale = np.geomspace(0.05, 20, width)
    return (features * scale + 3 * scale).astype(np.float32), labels


def part(classes: int = 3, n: int = 120, width: int = WIDTH) -> Part:
    features, labels = blobs(n, classes, 0, width)
    return Part(features, labels, *blobs(50, classes, 1, width), classes)


def only(path: Any, on: Part, settings: dict[str, Any], kind: str) -> tuple[Any, np.ndarray]:
    """The head as a module, and its logits of the held-out photos, the module's own."""
    trained = next(iter(path(on, [settings], 0)))
    state = trained.state()
    module = build_head(kind, json.loads(json.dumps(state.config)))
    module.load_state_dict({name: torch.from_numpy(a) for name, a in state.arrays.items()})
    with torch.inference_mode():
        logits = module(torch.from_numpy(on.held)).numpy()
    assert logits.dtype == np.float32
    # What settings are chosen by is what the module gives.
    np.testing.assert_allclose(trained.held_logits, logits, rtol=1e-3, atol=1e-3)
    return module, logits


def standardised(on: Part) -> tuple[np.ndarray, np.ndarray]:
    scaler = StandardScaler().fit(on.features)
    return scaler.transform(on.features), scaler.transform(on.held)


def decisions(values: np.ndarray) -> np.ndarray:
    """scikit-learn gives one column for two classes."""
    return np.stack([-values, values], axis=1) / 2 if values.ndim == 1 else values


# Each kind is what scikit-learn has


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("width", [WIDTH, 200])
def test_logistic_is_scikit_learns(classes: int, width: int) -> None:
    on = part(classes, width=width)
    x, held = standardised(on)
    theirs = LogisticRegression(C=0.05, tol=1e-8, max_iter=5000).fit(x.astype(float), on.labels)
    _, ours = only(linear.logistic_path, on, {"C": 0.05}, "logistic")
    np.testing.assert_allclose(ours, decisions(theirs.decision_function(held)), atol=5e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_chooses_as_the_linear_head_does(classes: int) -> None:
    train, labels = blobs(120, classes, 0)
    valid, valid_labels = blobs(120, classes, 1)
    plain = fit_linear_head(train, labels, valid, valid_labels, classes)
    head = fit_head("logistic", train, labels, valid, valid_labels, classes, seed=0)
    assert head.settings == {"C": plain.C}
    assert [c["settings"]["C"] for c in head.candidates] == [c.C for c in plain.candidates]
    np.testing.assert_allclose(head.logits(valid), plain.logits(valid), atol=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_linear_svm_is_scikit_learns(classes: int) -> None:
    on = part(classes)
    x, held = standardised(on)
    _, ours = only(svm.linear_path, on, {"C": 0.02}, "linear_svm")
    theirs = OneVsRestClassifier(SVC(C=0.02, kernel="linear")).fit(x, on.labels)
    # As near as the solver goes, which takes another way for other roundings.
    np.testing.assert_allclose(ours, decisions(theirs.decision_function(held)), atol=5e-3)
    theirs = OneVsRestClassifier(SVC(C=0.02, kernel="precomputed")).fit(on.products, on.labels)
    same = decisions(theirs.decision_function(on.products_held))
    np.testing.assert_allclose(ours, same, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_rbf_svm_is_scikit_learns(classes: int) -> None:
    on = part(classes)
    assert (on.features < 0).any()  # the root keeps the sign
    roots = Part(
        np.sign(on.features) * np.sqrt(np.abs(on.features)), on.labels,
        np.sign(on.held) * np.sqrt(np.abs(on.held)), on.held_labels, classes,
    )  # fmt: skip
    x, held = standardised(roots)
    settings = {"C": 3.0, "gamma_times_features": 0.3}
    module, ours = only(svm.rbf_path, on, settings, "rbf_svm")
    theirs = OneVsRestClassifier(SVC(C=3, gamma=0.3 / WIDTH)).fit(x, on.labels)
    np.testing.assert_allclose(ours, decisions(theirs.decision_function(held)), atol=5e-3)
    kernel, kernel_held = (np.exp(-0.3 / WIDTH * squared) for squared in roots.squared)
    theirs = OneVsRestClassifier(SVC(C=3, kernel="precomputed")).fit(kernel, on.labels)
    same = decisions(theirs.decision_function(kernel_held))
    np.testing.assert_allclose(ours, same, atol=1e-4)
    assert len(module.vectors) < len(on.labels)  # support vectors only


@pytest.mark.parametrize("classes", [2, 3])
def test_forest_is_scikit_learns(classes: int) -> None:
    on = part(classes)
    theirs = RandomForestClassifier(25, max_features=3, random_state=0).fit(on.features, on.labels)
    module, ours = only(forest.forest_path, on, {"trees": 25, "features_per_cut": 1.0}, "forest")
    assert isinstance(module, Forest)
    shares = module.probabilities(torch.from_numpy(on.held)).numpy()
    np.testing.assert_allclose(shares, theirs.predict_proba(on.held), atol=1e-6)
    np.testing.assert_array_equal(ours.argmax(1), theirs.predict_proba(on.held).argmax(1))
    assert np.isfinite(ours).all()


def test_a_forest_cuts_exactly_where_scikit_learn_does() -> None:
    """Photos on a threshold and one float32 beside it."""
    on = part()
    theirs = RandomForestClassifier(10, random_state=0).fit(on.features, on.labels)
    state = forest.forest_state(theirs)
    module = build_head("forest", state.config)
    module.load_state_dict({name: torch.from_numpy(a) for name, a in state.arrays.items()})
    assert isinstance(module, Forest)
    rows = []
    for tree in theirs.estimators_:
        for feature, cut in zip(tree.tree_.feature, tree.tree_.threshold, strict=True):
            for value in (np.float32(cut), np.nextafter(np.float32(cut), np.float32(np.inf))):
                row = on.features[0].copy()
                if feature >= 0:
                    row[feature] = value
                rows.append(row)
    x = np.stack(rows)
    shares = module.probabilities(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(shares, theirs.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("votes", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("classes", [2, 3])
def test_neighbours_are_scikit_learns(classes: int, metric: str, votes: str) -> None:
    on = part(classes)
    x, held = standardised(on)
    theirs = KNeighborsClassifier(7, weights=votes, metric=metric, algorithm="brute")
    expected = theirs.fit(x, on.labels).predict_proba(held)
    settings = {"neighbours": 7, "metric": metric, "votes": votes}
    module, logits = only(neighbours.neighbours_path, on, settings, "neighbours")
    assert isinstance(module, Neighbours)
    shares = module.shares(torch.from_numpy(on.held)).numpy()
    np.testing.assert_allclose(shares, expected, atol=1e-4)
    smoothed = (expected * 7 + 0.5) / (7 + 0.5 * classes)
    np.testing.assert_allclose(np.exp(logits), smoothed, atol=1e-4)
    unit = normalize(x) if metric == "cosine" else x
    np.testing.assert_allclose(module.vectors.numpy(), unit, atol=1e-5)


def test_a_training_photo_is_its_own_neighbour() -> None:
    on = part()
    settings = {"neighbours": 5, "metric": "cosine", "votes": "distance"}
    module, _ = only(neighbours.neighbours_path, on, settings, "neighbours")
    shares = module.shares(torch.from_numpy(on.features))
    assert (shares.argmax(1).numpy() == on.labels).all()
    assert shares.max(1).values.min() > 0.95


def test_more_neighbours_than_photos_are_all_of_them() -> None:
    on = part(n=6)
    settings = {"neighbours": 40, "metric": "euclidean", "votes": "uniform"}
    module, _ = only(neighbours.neighbours_path, on, settings, "neighbours")
    assert module.neighbours == 6


def test_the_network_is_folded_with_its_standardisation() -> None:
    on = part()
    settings = {"hidden": [20, 10], "dropout": 0.5}
    before = torch.random.get_rng_state()
    module, logits = only(network.network_path, on, settings, "fcnn")
    assert [type(layer).__name__ for layer in module] == [
        "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear",
    ]  # fmt: skip
    assert (logits.argmax(1) == on.held_labels).mean() > 0.6
    torch.testing.assert_close(torch.random.get_rng_state(), before)


# Every kind alike


def fitted(classes: int = 3, n: int = 120) -> tuple[FittedHead, ...]:
    return fit_heads(HEADS, *blobs(n, classes, 0), *blobs(n, classes, 1), classes, seed=0)


@pytest.fixture(scope="module", params=[2, 3])
def heads(request: pytest.FixtureRequest) -> tuple[int, tuple[FittedHead, ...]]:
    return request.param, fitted(request.param)


@pytest.mark.parametrize("number", range(len(HEADS)), ids=HEADS)
class TestEveryKind:
    def test_learns(self, heads: tuple[int, tuple[FittedHead, ...]], number: int) -> None:
        classes, head = heads[0], heads[1][number]
        assert head.kind == HEADS[number]
        features, labels = blobs(300, classes, 2)
        logits = head.logits(features)
        assert logits.shape == (300, classes)
        assert (logits.argmax(1) == labels).mean() > (0.85 if classes == 2 else 0.75)
        assert head.chosen_on == "120 validation photos"
        np.testing.assert_array_equal(head.held_out_rows, np.arange(120, 240))
        np.testing.assert_array_equal(head.held_out_labels, np.arange(120) % classes)
        assert min(c["log_loss"] for c in head.candidates) < np.log(classes)
        assert head.seconds > 0

    def test_probabilities_are_calibrated(
        self, heads: tuple[int, tuple[FittedHead, ...]], number: int
    ) -> None:
        classes, head = heads[0], heads[1][number]
        assert head.temperature == fit_temperature(head.held_out_logits, head.held_out_labels)
        features, labels = blobs(1500, classes, 2)
        sure = probabilities(head.logits(features), head.temperature)
        assert calibration_error(labels, sure) < 0.08

    def test_is_whole_in_its_state_dict(
        self, heads: tuple[int, tuple[FittedHead, ...]], number: int, tmp_path: Path
    ) -> None:
        head = heads[1][number]
        save_file(head.module.state_dict(), tmp_path / "head.safetensors")
        again = build_head(head.kind, json.loads(json.dumps(head.config)))
        again.load_state_dict(load_file(tmp_path / "head.safetensors"))
        features, _ = blobs(40, heads[0], 2)
        with torch.inference_mode():
            logits = again(torch.from_numpy(features)).numpy()
        np.testing.assert_array_equal(logits, head.logits(features))
        json.dumps([head.settings, head.candidates])

    def test_one_photo_is_as_many(
        self, heads: tuple[int, tuple[FittedHead, ...]], number: int
    ) -> None:
        head = heads[1][number]
        features, _ = blobs(20, heads[0], 2)
        single = np.concatenate([head.logits(row[None]) for row in features])
        np.testing.assert_allclose(single, head.logits(features), rtol=1e-3, atol=1e-4)
        assert head.logits(features[:0]).shape == (0, heads[0])

    def test_is_the_same_for_the_same_seed(
        self, heads: tuple[int, tuple[FittedHead, ...]], number: int
    ) -> None:
        classes, head = heads[0], heads[1][number]
        again = fit_head(
            head.kind, *blobs(120, classes, 0), *blobs(120, classes, 1), classes, seed=0
        )
        assert again.settings == head.settings
        assert again.candidates == head.candidates
        for name, value in head.module.state_dict().items():
            torch.testing.assert_close(again.module.state_dict()[name], value, rtol=0, atol=0)

    def test_works_with_one_photo_in_a_class(
        self, heads: tuple[int, tuple[FittedHead, ...]], number: int
    ) -> None:
        features, labels = blobs(41, 2, 0)
        labels[-1] = 2
        features[-1] += 100
        head = fit_head(
            HEADS[number], features, labels, features[:0], labels[:0], 3, seed=0
        )  # fmt: skip
        assert head.chosen_on == "5-fold cross-validation of 40 training photos"
        assert 2 not in head.held_out_labels
        assert head.logits(features).shape == (41, 3)

    def test_works_with_one_photo_in_every_class(
        self, heads: tuple[int, tuple[FittedHead, ...]], number: int
    ) -> None:
        features, labels = blobs(3, 3, 0)
        head = fit_head(HEADS[number], features, labels, features[:0], labels[:0], 3, seed=0)
        assert head.chosen_on == "nothing: too few photos to hold any out"
        assert head.candidates == ()
        assert head.log_loss is None
        assert head.accuracy is None
        assert head.temperature == 1
        assert np.isfinite(head.logits(features)).all()


# Who is held out


def test_few_validation_photos_are_joined_with_the_training_photos() -> None:
    train, valid = blobs(60, 3, 0), blobs(30, 3, 1)
    head = fit_head("logistic", *train, *valid, 3, seed=0)
    assert head.chosen_on == "5-fold cross-validation of 90 training and validation photos"
    np.testing.assert_array_equal(head.held_out_rows, np.arange(90))
    np.testing.assert_array_equal(head.held_out_labels, np.concatenate([train[1], valid[1]]))
    # In the end fitted on all of them.
    on_all = Part(np.concatenate([train[0], valid[0]]), head.held_out_labels, valid[0], valid[1], 3)
    _, expected = only(linear.logistic_path, on_all, head.settings, "logistic")
    np.testing.assert_allclose(head.logits(valid[0]), expected, atol=1e-4)


def test_held_out_logits_are_of_heads_that_did_not_see_the_photos() -> None:
    """Labels by chance: a neighbour that is the photo itself would name all of them rightly."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(100, 5)), rng.integers(0, 2, 100)
    head = fit_head("neighbours", features, labels, features[:0], labels[:0], 2, seed=0)
    assert head.accuracy is not None
    assert head.accuracy < 0.7


@pytest.mark.parametrize(
    ("m", "classes", "held_out"),
    [(0, 3, False), (99, 3, False), (100, 3, True), (100, 20, True), (100, 21, False)],
)
def test_how_many_validation_photos_are_enough(m: int, classes: int, held_out: bool) -> None:
    plan = plan_parts(*blobs(100, classes, 0), *blobs(m, classes, 1), classes, None, 0)
    assert (plan.whole is None) == held_out
    assert len(plan.parts) == (1 if held_out else 5)


def test_folds_are_even_in_every_class() -> None:
    labels = np.repeat([0, 1, 2, 3], [50, 23, 2, 1])
    fold = fold_numbers(labels, None, seed=0)
    for number, count in ((0, 50), (1, 23)):
        sizes = np.bincount(fold[labels == number], minlength=5)
        assert sizes.max() - sizes.min() <= 1
        assert sizes.sum() == count
    assert len(set(fold[labels == 2])) == 2
    assert fold[labels == 3] == [-1]
    assert (fold_numbers(labels, None, seed=0) == fold).all()
    assert (fold_numbers(labels, None, seed=1) != fold).any()


def test_groups_stay_together_and_no_class_is_held_out_whole() -> None:
    rng = np.random.default_rng(0)
    for seed in range(30):
        labels = rng.integers(0, 4, 60)
        groups = rng.integers(0, rng.integers(2, 60), 60)
        fold = fold_numbers(labels, groups, seed)
        for group in np.unique(groups):
            assert len(set(fold[groups == group])) == 1
        for k in range(5):
            assert set(labels[fold != k]) == set(labels)


def test_groups_may_have_names() -> None:
    train, valid = blobs(40, 2, 0), blobs(20, 2, 1)
    groups = np.array([f"photo {i // 4}" for i in range(60)])
    head = fit_head("logistic", *train, *valid, 2, seed=0, groups=groups)
    assert "60 training and validation photos" in head.chosen_on


def test_many_photos_are_sampled_for_support_vector_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, labels = blobs(300, 3, 0)
    labels[:] = np.repeat([0, 1, 2], [200, 99, 1])
    some = Part(features, labels, features[:5], labels[:5], 3).sample(60, seed=0)
    np.testing.assert_allclose(np.bincount(some.labels), [40, 20, 1], atol=1)
    assert len(some.labels) == 60
    assert 2 in some.labels
    monkeypatch.setattr(svm, "MOST_PHOTOS", 60)
    on = Part(*blobs(300, 3, 0), *blobs(50, 3, 1), 3)
    module, _ = only(svm.rbf_path, on, {"C": 3.0, "gamma_times_features": 0.3}, "rbf_svm")
    assert len(module.vectors) <= 60


# Which head is taken


def judged(kind: str, *sure: float) -> FittedHead:
    """A head that gives the right class of each photo this probability."""
    p = np.array(sure)
    n = len(p)
    return FittedHead(
        kind=kind, module=torch.nn.Identity(), config={}, settings={}, candidates=(),
        held_out_logits=np.log(np.stack([p, 1 - p], axis=1)), held_out_labels=np.zeros(n, int),
        held_out_rows=np.arange(n), chosen_on="", seconds=0.0,
    )  # fmt: skip


def test_the_head_of_least_loss_is_taken() -> None:
    heads = [judged("logistic", *[0.6, 0.3] * 20), judged("forest", *[0.9, 0.8, 0.7, 0.4] * 10)]
    assert heads[1].losses.mean() < heads[0].losses.mean()
    assert best_head(heads).kind == "forest"
    assert best_head(reversed(heads)).kind == "forest"


def test_of_heads_about_as_good_the_simplest_is_taken() -> None:
    good = [0.9, 0.8, 0.7, 0.4] * 10
    near = [0.9, 0.8, 0.8, 0.37] * 10
    heads = [judged("forest", *good), judged("rbf_svm", *near), judged("neighbours", *good)]
    more = heads[1].losses - heads[0].losses
    assert 0 < more.mean() < more.std(ddof=1) / 40**0.5
    assert best_head(heads).kind == "rbf_svm"
    assert best_head(heads[::2]).kind == "neighbours"
    assert best_head(heads, standard_errors=0).kind == "neighbours"


def test_without_held_out_photos_the_simplest_is_taken() -> None:
    assert best_head([judged("forest"), judged("linear_svm")]).kind == "linear_svm"


def test_heads_of_different_photos_are_not_compared() -> None:
    with pytest.raises(InputError, match="different photos"):
        best_head([judged("forest", 0.8, 0.9), judged("logistic", 0.8)])
    with pytest.raises(InputError, match="no head"):
        best_head([])


# What cannot be used


def refuses(message: str, **changes: Any) -> None:
    train, train_labels = blobs(30, 3, 0)
    given: dict[str, Any] = {
        "kind": "logistic", "train": train, "train_labels": train_labels, "valid": train[:6],
        "valid_labels": train_labels[:6], "num_classes": 3, "seed": 0,
    }  # fmt: skip
    with pytest.raises(InputError, match=message) as raised:
        fit_head(**given | changes)
    assert "\n" not in str(raised.value)


def with_value(value: float) -> np.ndarray:
    features, _ = blobs(30, 3, 0)
    features[4, 2] = value
    return features


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers(value: float) -> None:
    refuses("training photos have NaN or infinity in 1 of 30 rows, first in row 4",
            train=with_value(value))  # fmt: skip
    refuses("validation photos have NaN", valid=with_value(value)[:6])
    with pytest.raises(InputError, match="these photos have NaN"):
        fitted_logistic().logits(with_value(value))


def fitted_logistic() -> FittedHead:
    train, labels = blobs(30, 3, 0)
    return fit_head("logistic", train, labels, train[:0], labels[:0], 3, seed=0)


def test_features_of_another_width() -> None:
    refuses("validation photos are 5 numbers each, and 12 are expected", valid=np.zeros((6, 5)))
    with pytest.raises(InputError, match="these photos are 5 numbers each, and 12 are expected"):
        fitted_logistic().logits(np.zeros((2, 5)))
    refuses("have the shape", train=np.zeros(30))
    refuses("not a table of numbers", train=[[1.0], [1.0, 2.0]])


def test_labels_that_do_not_fit() -> None:
    _, labels = blobs(30, 3, 0)
    refuses("Classes without a training photo, by number: 3", num_classes=4)
    refuses("Classes without a training photo, by number: 2", train_labels=labels % 2)
    refuses("validation photos is 3. Allowed: 0 to 2", valid_labels=np.full(6, 3))
    refuses("There is only one class", train_labels=labels * 0, valid_labels=labels[:6] * 0,
            num_classes=1)  # fmt: skip
    refuses("30 features but labels", train_labels=labels[:-1])
    refuses("labels of the training photos are float64", train_labels=labels / 2)
    refuses("groups", groups=np.zeros(30))


def test_unknown_kinds_and_damaged_configurations() -> None:
    refuses("Unknown head 'forrest'. Did you mean 'forest'", kind="forrest")
    with pytest.raises(InputError, match="Did you mean 'linear_svm'"):
        build_head("linear_swm", {})
    good = {"features": 4, "classes": 2, "hidden": [3], "dropout": 0.5}
    build_head("fcnn", good)
    for name, value in (("features", 0), ("classes", "2"), ("hidden", [True]), ("dropout", 1)):
        with pytest.raises(InputError, match=f"fcnn head is damaged: '{name}' must be"):
            build_head("fcnn", good | {name: value})
    with pytest.raises(InputError, match="'vectors' must be an integer of at least 1, and is noth"):
        build_head("rbf_svm", {"features": 4, "classes": 2})
    with pytest.raises(InputError, match="'metric' must be one of cosine, euclidean"):
        build_head("neighbours", {"features": 4, "classes": 2, "vectors": 3, "neighbours": 3,
                                  "metric": "far", "votes": "uniform"})  # fmt: skip


def test_features_that_never_change_are_no_trouble() -> None:
    train, labels = blobs(60, 2, 0)
    train[:, 3] = 7
    for head in fit_heads(HEADS, train, labels, train[:0], labels[:0], 2, seed=0):
        assert np.isfinite(head.logits(train)).all()
    same = np.ones((20, 4), np.float32)
    for head in fit_heads(HEADS, same, labels[:20], same[:0], labels[:0], 2, seed=0):
        assert np.isfinite(head.logits(same)).all()
