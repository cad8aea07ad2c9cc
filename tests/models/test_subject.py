from dataclasses import replace

import pytest
import torch
from torch import nn

from attnbench.mechanism import Map, Mechanism, Site
from attnbench.models import subject
from attnbench.plugins.registry import discover
from attnbench.record import Cell, Mode, Scope
from attnbench.runs.job import Assignment, Settings
from attnbench.worker import counts, phases

BACKBONE = Cell(mechanism="mhsa", options={"qkv_bias": True, "backend": "sdpa"}, height=64, width=96, batch=2)
LAYER = replace(BACKBONE, scope=Scope.LAYER, stage=3, dim=24, heads=3, depth=4)
MHSA = discover().plugins["mhsa"].load()


def asked(cell: Cell) -> subject.Subject:
    return subject.MechanismSubject(cell=cell, mechanism=MHSA)


def test_a_backbone_takes_images_and_a_stack_takes_maps() -> None:
    assert asked(BACKBONE).example().shape == (2, 3, 64, 96)
    assert asked(LAYER).example().shape == (2, 4, 6, 24)
    assert asked(LAYER).build()(asked(LAYER).example()).shape == (2, 4, 6, 24)


def test_layer_figures_are_those_of_one_layer_of_the_stack() -> None:
    total, layers = subject.MechanismSubject(cell=LAYER, mechanism=MHSA).closed_form()
    tokens, dim = 24, 24
    assert asked(LAYER).layers == 4
    assert total == layers.total == 4 * (4 * tokens * dim**2 + 2 * tokens**2 * dim)


def test_what_is_unsupported_is_said_with_the_place() -> None:
    cell = replace(LAYER, heads=5)
    reason = asked(cell).why_unsupported()
    assert reason is not None
    assert reason.startswith("at 4x6 tokens, dim 24:")


def test_a_backend_that_a_mechanism_lacks_is_unsupported_not_an_error() -> None:
    cell = replace(BACKBONE, options={"backend": "warp"})
    assert asked(cell).why_unsupported() == "mhsa has no backend 'warp'; it has sdpa, unfused"


def test_adaptations_are_said_once_each() -> None:
    said = subject.of(Cell(mechanism="swin", height=512, width=512)).adaptation().split("; ")
    assert said
    assert len(said) == len(set(said))


class Complex(Mechanism):
    """A filter over frequencies, which are complex numbers."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.gain = nn.Parameter(torch.randn(site.height, site.width // 2 + 1, site.dim, dtype=torch.complex64))
        self.norm = nn.LayerNorm(site.dim)

    def forward(self, x: Map) -> Map:
        spectrum = torch.fft.rfft2(self.norm(x).float(), dim=(1, 2)) * self.gain
        return torch.fft.irfft2(spectrum, s=x.shape[1:3], dim=(1, 2)).to(x.dtype)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2), ("float16", 2)])
def test_complex_parameters_stay_complex_in_every_type(dtype: str, size: int) -> None:
    cell = replace(LAYER, mechanism="complex", options={}, dtype=dtype, depth=1, batch=1)
    complex_asked = subject.MechanismSubject(cell=cell, mechanism=Complex)
    model = subject.cast(complex_asked.build(), dtype)
    assert model.layers[0].gain.is_complex()
    assert model.layers[0].norm.weight.dtype == subject.DTYPES[dtype]
    tokens, dim = 24, 24
    in_and_out, weights = 2 * tokens * dim * size, 4 * 4 * dim * 8 + 2 * dim * size
    assert counts.count(complex_asked)["bytes_lower_bound"] == in_and_out + weights


def test_what_is_run_has_the_parameters_that_were_built() -> None:
    cell = replace(LAYER, mechanism="complex", options={}, batch=1, mode=Mode.TRAIN)
    course = Assignment(cell=cell)
    made: list[nn.Module] = []

    class Kept(Complex):
        def __init__(self, site: Site) -> None:
            super().__init__(site)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "of", lambda _: subject.MechanismSubject(cell=cell, mechanism=Kept))
        phases.prepare(0, course, Settings(), lambda _: None, lambda *_: None, held_bytes=0)
    assert all(layer.gain.is_complex() for layer in made)
