"""Fixtures of all tests, and the skipping of tests that need files beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

import photos

# Tests that run side by side share the cores among them; what they start as well.
if (side_by_side := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    cores_each = max(1, (os.cpu_count() or 1) // side_by_side)
    os.environ["OMP_NUM_THREADS"] = str(cores_each)
    torch.set_num_threads(cores_each)

SHARED = Path(__file__).resolve().parents[2] / "shared"

# A machine shared with others is slow now and then; that is no fault of the code.
# On CI the same examples each time, so that a failure there can be had again here.
settings.register_profile("convscope", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("convscope")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``shared`` where the photos are not there."""
    if (SHARED / "images").is_dir():
        return
    skip = pytest.mark.skip(reason="no folder shared/images beside the checkout")
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photos and weights beside the checkout; for tests marked ``shared``."""
    return SHARED


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Three classes of six small photos each."""
    return photos.photo_folder(tmp_path / "photos", {"cat": 6, "dog": 6, "owl": 6})
