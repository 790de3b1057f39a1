"""``ImageClassifier``: the same results as the command, in scikit-learn's manner."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from convscope import ImageClassifier, InputError, Run
from fits import folder, photos, small, weights_file
from learnable import TINTS


@pytest.fixture(scope="module")
def classifier() -> ImageClassifier:
    with small():
        return ImageClassifier(strategy="features", weights=str(weights_file()), workers=0).fit(
            photos()
        )


def files(split: str) -> tuple[list[Path], list[str]]:
    paths = sorted((photos() / split).rglob("*.png"))
    return paths, [path.parent.name for path in paths]


def test_it_names_photos_as_its_run_does(classifier: ImageClassifier) -> None:
    paths, labels = files("test")
    with small():
        shares = classifier.predict_proba(paths)
        named = classifier.predict(paths)
    assert list(classifier.classes_) == sorted(TINTS)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (named == classifier.classes_[shares.argmax(axis=1)]).all()
    kept = classifier.run_.predictions()
    rows = [row for row, split in enumerate(kept.splits) if split == "test"]
    by_path = {kept.paths[row]: kept.probabilities[row] for row in rows}
    for path, share in zip(paths, shares, strict=True):
        np.testing.assert_allclose(share, by_path[path.relative_to(photos()).as_posix()], atol=1e-4)
    with small():
        score = classifier.score(paths, labels)
    assert score == classifier.run_.metrics()["splits"]["test"]["accuracy"]


def test_saved_and_loaded_it_is_the_same(classifier: ImageClassifier, tmp_path: Path) -> None:
    paths, _ = files("test")
    saved = classifier.save(tmp_path / "run")
    assert isinstance(saved, Run)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    loaded = ImageClassifier.load(tmp_path / "run")
    with small():
        assert (loaded.predict_proba(paths) == classifier.predict_proba(paths)).all()
    assert loaded.get_params()["strategy"] == "features"
    with pytest.raises(InputError, match="exists already"):
        classifier.save(tmp_path / "run")


def test_paths_and_labels_instead_of_a_folder() -> None:
    paths, labels = files("train")
    with small():
        fitted = ImageClassifier("features", weights=str(weights_file()), workers=0).fit(
            [str(path) for path in paths], labels
        )
    assert fitted.run_.info().photos.layout == "table"
    assert sum(len(s) for s in [fitted.run_.predictions().paths]) == len(paths)


def test_conventions(classifier: ImageClassifier) -> None:
    assert is_classifier(ImageClassifier())
    changed = clone(ImageClassifier("cnn", epochs=3, random_state=5))
    assert changed.get_params()["epochs"] == 3
    assert not hasattr(changed, "run_")
    changed.set_params(epochs=4)
    assert changed.epochs == 4
    # The constructor stores what it is given, and nothing else.
    given = inspect.signature(ImageClassifier).parameters
    assert set(vars(ImageClassifier())) == set(given)
    check_is_fitted(classifier)
    with pytest.raises(NotFittedError, match="ImageClassifier instance is not fitted yet"):
        ImageClassifier().predict(["a.jpg"])
    with pytest.raises(NotFittedError):
        check_is_fitted(ImageClassifier())


def test_bad_input(classifier: ImageClassifier, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without labels"):
        ImageClassifier().fit(["a.jpg", "b.jpg"])
    with pytest.raises(InputError, match="2 photos and 1 labels"):
        ImageClassifier().fit(["a.jpg", "b.jpg"], ["cat"])
    with pytest.raises(InputError, match="Did you mean 'features'"):
        ImageClassifier("feature").fit(photos())
    broken = folder() / "broken.png"
    broken.write_bytes(b"no photo")
    with small(), pytest.raises(InputError, match=r"broken\.png"):
        classifier.predict([broken])
