"""The network that learns tasks: what answers can depend on, and how it starts."""

import pytest
import torch

from attnbench.accuracy.tasks import network
from attnbench.accuracy.tasks.maps import draw
from attnbench.accuracy.tasks.network import ProbeNetwork, build_network, dependence
from attnbench.accuracy.tasks.table import TASKS
from attnbench.mechanism import Mechanism
from attnbench.mechanisms.mhsa import MHSA
from attnbench.mechanisms.swin import ShiftedWindowAttention

SHIFT = TASKS["shift"]
MAP = draw(SHIFT, seed=0, purpose="batch 0", maps=1, value=1).maps


class LeftNeighbour(Mechanism):
    """Every token gets the one to its left."""

    reach = "local"

    def forward(self, x):
        return torch.nn.functional.pad(x, (0, 0, 1, 0))[:, :, :-1]


def test_two_layers_that_look_one_to_the_left_depend_on_two():
    depends = dependence(build_network(LeftNeighbour, SHIFT, seed=0), MAP) > 0
    for token in range(SHIFT.height * SHIFT.width):
        column = token % SHIFT.width
        expected = {token - back for back in range(min(2, column) + 1)}
        assert set(depends[token].nonzero().flatten().tolist()) == expected


def test_the_gradient_finds_what_changing_a_token_changes():
    """Dependence by differentiating, against answers that are worked out again with one token changed."""
    model = build_network(ShiftedWindowAttention, SHIFT, seed=0).eval().double()
    depends = dependence(model, MAP.double()) > 0
    answers = model(MAP.double()).flatten(1, 2)[0]
    for token in (0, 40, SHIFT.height * SHIFT.width - 1):
        changed = MAP.double().flatten(1, 2).clone()
        changed[0, token] += torch.linspace(1, 2, changed.shape[-1], dtype=torch.float64)
        moved = (model(changed.view(MAP.shape)).flatten(1, 2)[0] - answers).abs().sum(-1) > 0
        assert torch.equal(moved, depends[:, token])


@pytest.mark.parametrize("mechanism", [MHSA, LeftNeighbour])
def test_all_but_the_mechanism_starts_from_the_same_weights(mechanism):
    ours, other = (build_network(each, SHIFT, seed=5).state_dict() for each in (mechanism, ShiftedWindowAttention))
    shared = [name for name in ours if not name.startswith("mechanisms.")]
    assert "mlps.1.1.weight" in shared
    assert all(torch.equal(ours[name], other[name]) for name in shared)


def test_layers_stand_where_those_of_the_third_stage_do():
    first, second = network.sites(SHIFT)
    assert (first.height, first.width, first.stride, first.layer, second.layer, second.depth) == (6, 24, 16, 0, 1, 2)
    assert ProbeNetwork(MHSA, SHIFT).mechanisms[1].site == second
