"""Quantised after training by each runtime's own tool: what is done is said, and how far the answers then are."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from attnbench import runtimes
from attnbench.mechanism import Site
from attnbench.mechanisms.qna import QnA
from attnbench.record import Cell, Mode, Scope
from attnbench.runs.job import Assignment, Event, Job, Running, Settings
from attnbench.runtimes.runtime import CannotRunError, Prepared, Runtime
from attnbench.worker import exporting, torch_state, witness
from attnbench.worker.copies import Copies
from attnbench.worker.exporting import taken_over
from attnbench.worker.main import work
from attnbench.worker.verification import verify

NAMES = ("torch", "onnxruntime", "openvino")
CELL = Cell(
    mechanism="mhsa", options={"qkv_bias": True, "backend": "sdpa"}, scope=Scope.LAYER, height=64, width=64, stage=3,
    dim=16, heads=2, depth=1, dtype="int8",
)  # fmt: skip


@pytest.fixture(params=NAMES)
def runtime(request: pytest.FixtureRequest) -> type[Runtime]:
    found = runtimes.of(request.param)
    if reason := found.why_missing() or found.why_not_quantizing():
        pytest.skip(reason)
    return found


class Perceptron(nn.Module):
    """A product whose weights and inputs are whole multiples of a 127th: 8 bits hold them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(32, 24)
        with torch.no_grad():
            self.linear.weight.copy_(torch.randint(-127, 128, (24, 32)) / 127)
            self.linear.weight[:, 0] = 1  # the largest of each row, so that a step is a 127th in each

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def quantized(runtime: type[Runtime], module: nn.Module, x: Tensor, samples: list[Tensor]) -> Prepared:
    return runtime().quantize(module.eval(), x, cell=replace(CELL, runtime=runtime.name), samples=samples)


class TakesWeights(nn.Module):
    """Calls one linear layer, and takes the weights of another for a product of its own, as LaViT does."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.called, self.taken = nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.taken.weight @ self.called(x).mT


def test_torch_leaves_a_layer_as_it_is_whose_weights_are_taken_and_which_is_never_called() -> None:
    torchs = runtimes.of("torch")
    if reason := torchs.why_not_quantizing():
        pytest.skip(reason)
    module, x = TakesWeights(), torch.randn(4, 32)
    found = quantized(torchs, module, x, [x])
    assert found.remark.startswith("int8: 1 of 2 nn.Linear")
    with torch.inference_mode():
        torch.testing.assert_close(found.forward(x), module(x), atol=0.05, rtol=0.1)


def test_what_8_bits_hold_is_exact_and_what_they_do_not_is_near(runtime: type[Runtime]) -> None:
    module = Perceptron()
    steps = torch.randint(-127, 128, (4, 32)) / 127
    steps[:, 0], steps[:, 1] = 1, -1
    found = quantized(runtime, module, steps, [steps])
    assert found.remark.startswith("int8: ")
    with torch.inference_mode():
        right, other = module(steps), found.forward(steps).clone()
        assert float((other - right).abs().max()) < 0.02 * float(right.abs().max())
        inexact = steps + torch.rand_like(steps) / 127
        assert not torch.equal(found.forward(inexact), module(inexact)), "it is quantised, and not the module itself"


def test_the_module_stays_as_it_is(runtime: type[Runtime]) -> None:
    module, x = Perceptron(), torch.randn(4, 32)
    before = {name: each.clone() for name, each in module.named_parameters()}
    quantized(runtime, module, x, [x])
    assert type(module.linear.weight) is nn.Parameter
    assert all(torch.equal(before[name], each) for name, each in module.named_parameters())


def test_what_has_no_product_is_said_to_have_none(runtime: type[Runtime]) -> None:
    x = torch.randn(4, 32)
    with pytest.raises(CannotRunError, match="it has n"):
        quantized(runtime, nn.LayerNorm(32), x, [x])


def test_layers_that_the_tool_leaves_alone_are_not_said_to_have_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := runtimes.of("torch").why_not_quantizing():
        pytest.skip(reason)
    from torchao import quantization

    monkeypatch.setattr(quantization, "quantize_", lambda *_, **__: None)
    with pytest.raises(CannotRunError, match=r"torchao quantises none of its 1 nn\.Linear"):
        quantized(runtimes.of("torch"), Perceptron(), torch.randn(4, 32), [])


def test_weights_of_a_convolution_that_a_product_takes_are_quantised_in_the_product_s_shape(
    runtime: type[Runtime],
) -> None:
    class Borrows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(512, 256, 1)  # fewer weights are reshaped as the graph is exported

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.convolution.weight.flatten(1), self.convolution.bias)

    if runtime.name == "torch":
        pytest.skip("it reads no graph")
    torch.manual_seed(0)
    module, x = Borrows(), torch.randn(4, 512)
    found = quantized(runtime, module, x, [x])
    assert found.remark.startswith("int8: 1 of 1 products")
    with torch.inference_mode():
        right = module(x)
        noise = (found.forward(x).clone() - right).square().sum() / right.square().sum()
    assert 0 < float(noise) < 0.02


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_around_a_branch_is_quantised_and_either_way_leads_to_its_answer(
    runtime: type[Runtime], sign: int
) -> None:
    class Branch(Perceptron):
        def forward(self, x: Tensor) -> Tensor:
            # A reshape between product and branch: 8 bits that were taken past it, into the branch, ended the process.
            found = self.linear(x).view(4, 2, 12)
            return torch.cond(x.sum() > 0, lambda y: y * 2, lambda y: y - 1, (found,)) + found

    if runtime.name == "torch":
        pytest.skip("it reads no graph")
    module, samples = Branch(), [torch.randn(4, 32) + shift for shift in (1, -1)]
    x = sign * torch.rand(4, 32)
    found = quantized(runtime, module, x, samples)
    assert found.remark.startswith("int8: 1 of 1 products")
    with torch.inference_mode():
        right, other = module(x), found.forward(x).clone()
    assert 0 < float((other - right).abs().max()) < 0.05 * float(right.abs().max())


def test_products_within_a_branch_are_counted_as_what_they_are(runtime: type[Runtime]) -> None:
    class Branch(Perceptron):
        def forward(self, x: Tensor) -> Tensor:
            found = self.linear(x)
            return torch.cond(x.sum() > 0, lambda y: y @ y.T, lambda y: (y - 1) @ y.T, (found,))

    if runtime.name == "torch":
        pytest.skip("it reads no graph")
    found = quantized(runtime, Branch(), torch.rand(4, 32), [torch.randn(4, 32) + shift for shift in (1, -1)])
    done, of = found.remark.removeprefix("int8: ").partition(" products")[0].split(" of ")
    assert of == "3"
    assert int(done) == 1 if runtime.name == "onnxruntime" else int(done) >= 1


@pytest.mark.parametrize("far", [False, True])
def test_learned_queries_are_quantised_and_windows_far_below_the_best_are_still_right(
    runtime: type[Runtime], far: bool
) -> None:
    torch.manual_seed(0)
    layer, x = QnA(Site(height=6, width=6, dim=32, heads=2)).eval(), torch.randn(1, 6, 6, 32)
    if far:
        with torch.no_grad():
            layer.attention.query.normal_()
            layer.attention.key.mul_(5000)  # scores hundreds apart
    found = quantized(runtime, layer, x, [torch.randn_like(x) for _ in range(16)])
    with torch.inference_mode():
        right = layer(x)
        noise = (found.forward(x).clone() - right).square().sum() / right.square().sum()
    assert 0 < float(noise) < 0.1


def test_a_tool_that_is_not_installed_makes_a_row_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "openvino"):
        monkeypatch.setattr(runtimes.of(name), "quantizers", ("no_such_module",))
        said = runtimes.of(name).why_unsupported(replace(CELL, runtime=name))
        assert said.startswith("to quantise, no_such_module not installed: pip install 'attnbench[")
        assert not runtimes.of(name).why_unsupported(replace(CELL, runtime=name, dtype="float32"))


def test_what_is_quantised_is_not_trained() -> None:
    for name in NAMES:
        assert "infer" in runtimes.of(name).why_unsupported(replace(CELL, runtime=name, mode=Mode.TRAIN))


def test_a_runtime_that_does_not_quantise_says_so() -> None:
    class Plain(Runtime):
        name = "plain"
        extra = "plain"
        dtypes = frozenset({"float32"})

        def prepare(self, model, x, *, cell):
            return Prepared(forward=model, export="")

    assert "not int8" in Plain.why_unsupported(CELL)
    with pytest.raises(CannotRunError, match="plain does not quantise"):
        Plain().quantize(nn.Identity(), torch.ones(1), cell=CELL, samples=[])


def test_noise_of_a_layer_is_beside_what_it_adds_and_not_beside_its_input() -> None:
    x = torch.empty(1, 4, 4, 16)

    class Adds(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.1

    apart = exporting._apart(CELL, Adds(), lambda x: x + 0.11, x)
    assert apart.metrics(quantized=True)["int8_snr_db"] == pytest.approx(20, abs=0.01)
    assert "int8_snr_db" not in apart.metrics(quantized=False)


def evidence(cell: Cell, *, off: float) -> tuple[Copies, witness.Testimony]:
    """A call whose answer is that of the quantised layer, but for an error."""
    copies = Copies(cell=cell, seed=0)
    one = copies.build()
    with torch_state.restored():
        forward = one.taken_over(taken_over)
    one.fill(7)
    returned = forward(one.x).clone() + off
    tensors = witness.observed(one.model, one.x, returned, picks=3, training=False)
    return copies, witness.Testimony(call=1, number=7, picks=3, tensors=tensors)


@pytest.mark.parametrize("off", [0.0, 0.5])
def test_calls_are_held_to_another_quantisation_of_an_untouched_copy(off: float) -> None:

    if reason := runtimes.of("torch").why_not_quantizing():
        pytest.skip(reason)
    copies, kept = evidence(CELL, off=off)
    told = witness.Evidence(calls=1, kept=(kept,), picks=3, weights=witness.weights(copies.ready().model, 3))
    found = verify(CELL, told, seed=0, taken_s=1.0, shown_by="")
    assert bool(found.objections) == bool(off)
    if not off:
        assert found.said.startswith("1 of 1; with another quantisation")


def test_rows_say_how_far_int8_is_from_float32(tmp_path: Path) -> None:
    ready = [name for name in NAMES if not (runtimes.of(name).why_missing() or runtimes.of(name).why_not_quantizing())]
    cells = [replace(CELL, runtime=name) for name in ready]
    job = Job(
        assignments=tuple(Assignment(cell=cell) for cell in cells), baseline=cells[0].key,
        settings=Settings(max_time_s=0.01), samples=str(tmp_path),
    )  # fmt: skip
    events: list[Event] = []
    with torch_state.restored():
        work(job, events.append, Running(tmp_path / "running"))
    found: dict[int, dict[str, object]] = {}
    for event in events:
        if event.get("cell") is not None:
            found.setdefault(event["cell"], {}).update(event.get("metrics", {}))
    for index, cell in enumerate(cells):
        row = found[index]
        assert 5 < row["int8_snr_db"] < 80, cell.runtime
        assert 1e-5 < row["runtime_error"] < 0.2, "quantised, and not far off"
        assert "int8: " in str(row["runtime_remark"])
        assert row["bytes_lower_bound"] is None, "nothing is known of how many bytes its weights are"
        assert row["latency_ratio"]
    assert "latency_bound_s" not in found[0]
