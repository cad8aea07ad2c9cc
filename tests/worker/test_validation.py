"""The look at what mechanisms return, on stacks that a residual would let pass."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from attnbench.errors import PluginError
from attnbench.mechanism import Map, Mechanism, Site
from attnbench.models.backbone import Stack
from attnbench.worker.validation import require_nothing_kept, validate, watched

SITE = Site(height=3, width=4, dim=8, heads=2)
KEPT: list[Tensor] = []


def doubled(x: Map) -> Map:
    return 2 * x


def keeping(x: Map) -> Map:
    KEPT.append(torch.zeros(10))
    return x


def caching(x: Map) -> Map:
    if not KEPT:
        KEPT.append(torch.zeros(10))
    return x


def reseeding(x: Map) -> Map:
    torch.manual_seed(99)
    return x


class Does(Mechanism):
    def __init__(self, site: Site, act: Callable[[Map], Map]) -> None:
        super().__init__(site)
        self.act = act

    def forward(self, x: Map) -> Map:
        return self.act(x)


class Steps(Does):
    """Hands something on, so that the layer is not called by its forward."""

    def step(self, x: Map, carry: object) -> tuple[Map, object]:
        return self.act(x), x


def stack(act: Callable[[Map], Map], kind: type[Does] = Does) -> Stack:
    return Stack([kind(SITE, act), kind(SITE, act)])


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    KEPT.clear()


@pytest.mark.parametrize("act", [doubled, caching])
def test_what_keeps_the_contract_passes_and_is_left_as_it_was(act: Callable[[Map], Map]) -> None:
    model = stack(act)
    validate(model, torch.ones(2, 3, 4, 8))
    assert all("step" not in vars(layer) for layer in model.layers)


@pytest.mark.parametrize("kind", [Does, Steps])
@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda x: x[:, :1], r"returned \(2, 1, 4, 8\) for a map of \(2, 3, 4, 8\)"),
        (lambda x: x.sum(), r"returned \(\) for a map of"),
        (lambda x: (x, x), "returned a tuple for a map of"),
        (lambda x: x.double(), r"returned torch.float64 for a map of torch.float32; the type must be kept"),
        (lambda x: x / x.ne(x[0, 0, 0, 0]), "returned infinities or what is no number: 1 of 192 values"),
        (keeping, "keeps 80 bytes of tensors more after every call"),
        (reseeding, r"changes torch for everyone: seed from \d+ to 99"),
    ],
)  # fmt: skip
def test_what_does_not_is_named_whether_called_by_forward_or_by_step(
    act: Callable[[Map], Map], kind: type[Does], said: str
) -> None:
    x = torch.arange(192.0).view(2, 3, 4, 8) + 1
    with pytest.raises(PluginError, match=said):
        validate(stack(act, kind), x)


def test_shapes_are_looked_at_without_data() -> None:
    with torch.device("meta"):
        model, x = stack(lambda x: x[..., :1]), torch.ones(2, 3, 4, 8)
    with pytest.raises(PluginError, match=r"returned \(2, 3, 4, 1\)"), watched(model):
        model(x)


@pytest.mark.parametrize("returned", [{"maps": torch.zeros(1)}, None, [torch.zeros(1), "a word"]])
def test_what_is_neither_a_tensor_nor_several_is_named(returned: object) -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: Tensor) -> object:
            return returned

    with pytest.raises(PluginError, match=f"Odd returned a {type(returned).__name__}; a tensor, or a list or tuple"):
        validate(Odd(), torch.zeros(1))


def test_tensors_without_storage_that_somebody_else_keeps_are_passed_over() -> None:
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    torch.vmap(keep)(torch.ones(2, 3))  # as create_block_mask of FlexAttention does
    with pytest.raises((NotImplementedError, RuntimeError)):
        kept[0].untyped_storage()
    require_nothing_kept(nn.Linear(4, 4), torch.ones(1, 4))
