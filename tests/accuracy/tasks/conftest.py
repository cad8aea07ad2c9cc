"""A few made-up garments in the place of Fashion-MNIST, which need not be installed for tests of tasks."""

from pathlib import Path

import pytest
from garment_files import write_garments

from attnbench.accuracy.data import fashion

COUNTS = {"train": 60, "t10k": 40}


@pytest.fixture(scope="session")
def made_up_garments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("garments")
    write_garments(folder, COUNTS)
    return folder


@pytest.fixture(autouse=True)
def garments_of_these_tests(
    request: pytest.FixtureRequest, made_up_garments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put them there, but for what is trained on the real ones."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(fashion, "FOLDER", made_up_garments)
        monkeypatch.setattr(fashion, "_SPLITS", COUNTS)
