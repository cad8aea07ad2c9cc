"""An exported module is kept for the other runtimes of its group and for the process after this one."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from attnbench import runtimes
from attnbench.record import Cell, Scope
from attnbench.runs.job import Assignment, Event, Job, Running, Settings
from attnbench.runtimes import exports, onnx
from attnbench.worker import torch_state
from attnbench.worker.main import work

CELL = Cell(mechanism="mhsa", scope=Scope.LAYER, height=64, width=64, stage=3, dim=16, heads=2, depth=1)


class Scaled(nn.Module):
    """A product, and a factor that is no parameter."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.product = nn.Linear(4, 4)
        self.register_buffer("factor", torch.tensor(factor), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x) * self.factor


class Counted:
    """Exports, and counts how often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self._write = onnx.write
        monkeypatch.setattr(onnx, "write", self)

    def __call__(self, model: nn.Module, x: Tensor, folder: Path) -> Path:
        self.times += 1
        return self._write(model, x, folder)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    if reason := runtimes.of("onnxruntime").why_missing():
        pytest.skip(reason)
    return Counted(monkeypatch)


def answer(model: nn.Module, x: Tensor, *, kept: Path | None, cell: Cell = CELL) -> Tensor:
    runtime = runtimes.of("onnxruntime")()
    runtime.exports = kept
    return runtime.prepare(model.eval(), x, cell=cell).forward(x)


def test_the_same_module_is_exported_once_whatever_the_runtime_and_what_is_kept_answers_alike(
    tmp_path: Path, counted: Counted
) -> None:
    x, model = torch.randn(1, 2, 4), Scaled()
    first = answer(model, x, kept=tmp_path)
    again = answer(Scaled(), x, kept=tmp_path, cell=replace(CELL, runtime="onnxruntime"))
    assert counted.times == 1
    assert torch.equal(first, again)
    with exports.exported(model, x, cell=replace(CELL, runtime="openvino", dtype="int8"), kept=tmp_path) as export:
        assert export.spared_s > 0
    assert counted.times == 1


def test_what_differs_in_anything_is_exported_anew(tmp_path: Path, counted: Counted) -> None:
    x = torch.randn(1, 2, 4)
    answer(Scaled(), x, kept=tmp_path)
    assert torch.allclose(answer(Scaled(2.0), x, kept=tmp_path), Scaled(2.0)(x), atol=1e-6)
    answer(Scaled(), torch.randn(1, 3, 4), kept=tmp_path)
    answer(Scaled(), x, kept=tmp_path, cell=replace(CELL, options={"qkv_bias": False}))
    changed = Scaled()
    with torch.no_grad():
        changed.product.bias[0] += 1e-3
    answer(changed, x, kept=tmp_path)
    assert counted.times == 5


def test_without_a_folder_or_without_room_each_is_exported(
    tmp_path: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(1, 2, 4)
    for _ in range(2):
        answer(Scaled(), x, kept=None)
    (tmp_path / "file").write_text("where a folder should be made")
    for _ in range(2):
        answer(Scaled(), x, kept=tmp_path / "file")
    monkeypatch.setattr(exports, "_MOST_BYTES", 100)
    for _ in range(2):
        answer(Scaled(), x, kept=tmp_path / "full")
    assert counted.times == 6
    assert not (tmp_path / "full").exists()


def test_a_disk_that_fills_up_meanwhile_has_no_part_of_it(
    tmp_path: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exports.shutil, "copyfile", full)
    assert answer(Scaled(), torch.randn(1, 2, 4), kept=tmp_path).shape == (1, 2, 4)
    assert list(tmp_path.iterdir()) == []
    assert counted.times == 1


def test_a_module_with_tensors_that_cannot_be_told_is_exported_each_time(
    tmp_path: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untold(*_: object) -> None:
        raise RuntimeError("no bytes")

    x, model = torch.randn(1, 2, 4), Scaled()
    monkeypatch.setattr(exports, "_name", untold)
    for _ in range(2):
        answer(model, x, kept=tmp_path)
    assert counted.times == 2


def test_what_is_kept_in_part_is_not_taken(tmp_path: Path, counted: Counted) -> None:
    x = torch.randn(1, 2, 4)
    answer(Scaled(), x, kept=tmp_path)
    (place,) = tmp_path.iterdir()
    (place / "seconds").unlink()
    assert torch.allclose(answer(Scaled(), x, kept=tmp_path), Scaled()(x), atol=1e-6)
    assert counted.times == 2


def test_the_process_that_goes_on_exports_nothing_that_the_one_before_has(tmp_path: Path, counted: Counted) -> None:
    given = replace(CELL, options={"qkv_bias": True, "backend": "sdpa"}, runtime="onnxruntime")
    job = Job(
        assignments=(Assignment(cell=given),), baseline="", settings=Settings(max_time_s=0.01), samples=str(tmp_path),
        evidence=str(tmp_path / "evidence"),
    )  # fmt: skip
    took = []
    for _ in range(2):
        events: list[Event] = []
        with torch_state.restored():
            work(job, events.append, Running(tmp_path / "running"))
        assert any(event["event"] == "timed" for event in events)
        took += [event["metrics"]["export_s"] for event in events if "export_s" in event.get("metrics", {})]
    assert counted.times == 1
    assert took[1] > 0.5 * took[0], "what it took then is counted in"
