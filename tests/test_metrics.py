"""The figures against arithmetic by hand and against scikit-learn."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

from convscope.calibration import fit_temperature, probabilities
from convscope.metrics import calibration_error, majority_baseline, split_metrics, wilson


def test_wilson_interval_by_hand() -> None:
    # Wilson 1927 with z = 1.959964: 8 of 10 gives 0.4902 .. 0.9433.
    low, high = wilson(8, 10) or (0, 0)
    z, n, p = 1.959963984540054, 10, 0.8
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (low, high) == pytest.approx((centre - half, centre + half))
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) is None


def test_split_metrics_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    shares = np.array(
        [
            [0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1],
            [0.1, 0.8, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8],
        ]
    )  # fmt: skip
    got = split_metrics(labels, shares, ["a", "b", "c"])
    assert got["n"] == 6
    assert got["accuracy"] == pytest.approx(4 / 6)
    assert got["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert got["confusion"] == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert got["log_loss"] == pytest.approx(-np.log([0.8, 0.6, 0.2, 0.8, 0.4, 0.8]).mean())
    a = got["per_class"]["a"]
    assert (a["n"], a["precision"], a["recall"]) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert a["recall_95"] == wilson(2, 3)
    assert got["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)


def test_split_metrics_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 400)
    shares = softmax(rng.normal(size=(400, 5)) + 2 * np.eye(5)[labels], axis=1)
    got = split_metrics(labels, shares, list("abcde"))
    predicted = shares.argmax(axis=1)
    assert got["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert got["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert got["log_loss"] == pytest.approx(log_loss(labels, shares))


def test_a_class_without_photos_has_no_recall_and_spoils_no_mean() -> None:
    labels = np.array([0, 0, 1])
    shares = np.array([[0.9, 0.05, 0.05], [0.2, 0.1, 0.7], [0.1, 0.8, 0.1]])
    got = split_metrics(labels, shares, ["a", "b", "c"])
    assert got["per_class"]["c"]["recall"] is None
    assert got["per_class"]["c"]["recall_95"] is None
    assert got["balanced_accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert got["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


def test_calibration_error_by_hand() -> None:
    # Bin (0.8, 0.867]: two photos, sure 0.82 and 0.86, one right; bin (0.933, 1]: one, 0.95, right.
    shares = np.array([[0.82, 0.18], [0.86, 0.14], [0.95, 0.05]])
    labels = np.array([0, 1, 0])
    by_hand = (2 / 3) * abs(0.84 - 0.5) + (1 / 3) * abs(0.95 - 1)
    assert calibration_error(labels, shares) == pytest.approx(by_hand)


def test_a_perfectly_calibrated_classifier_has_a_small_error() -> None:
    rng = np.random.default_rng(1)
    shares = rng.dirichlet([1, 1, 1], 20_000)
    labels = (rng.random(20_000)[:, None] > shares.cumsum(axis=1)).sum(axis=1)
    assert calibration_error(labels, shares) < 0.015
    assert calibration_error(rng.integers(0, 3, 20_000), shares) > 0.2


def test_majority_baseline_is_the_training_photos_commonest() -> None:
    got = majority_baseline(["b", "b", "a"], ["a", "a", "b"])
    assert got == {"class": "b", "accuracy": pytest.approx(1 / 3)}
    assert majority_baseline(["b", "a"], []) == {"class": "a", "accuracy": None}


def test_temperature_is_found_again() -> None:
    rng = np.random.default_rng(2)
    true_logits = rng.normal(0, 2, (5000, 4))
    labels = (rng.random(5000)[:, None] > softmax(true_logits, axis=1).cumsum(axis=1)).sum(axis=1)
    assert fit_temperature(true_logits * 3, labels) == pytest.approx(3, rel=0.06)
    found = fit_temperature(true_logits, labels)
    losses = [
        -log_softmax(true_logits / t, axis=1)[np.arange(5000), labels].mean()
        for t in (found, found * 0.9, found * 1.1)
    ]
    assert losses[0] < min(losses[1:])


def test_temperature_stays_sane_where_all_photos_are_right_or_there_are_none() -> None:
    sure = np.array([[9.0, 0.0]] * 5)
    assert 0.1 < fit_temperature(sure, np.zeros(5, int)) < 1.0
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1.0


def test_probabilities_sum_to_one() -> None:
    shares = probabilities(np.array([[1000.0, 0.0], [0.0, 1.0]]), 0.5)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares[1, 1] == pytest.approx(1 / (1 + np.exp(-2)))
