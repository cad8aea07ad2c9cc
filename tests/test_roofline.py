import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from attnbench import metrics
from attnbench.record import Mode
from attnbench.roofline import Bound, BoundBy, MachineLimits, Work, bound, bytes_lower_bound, macs_per_call

LIMITS = MachineLimits(
    device="cpu", threads=2, macs_per_s={"float32": 100e9, "bfloat16": 400e9, "float16": 10e9}, bytes_per_s=50e9
)
WORK = Work(
    macs=1_000_000_000,
    batch=8,
    mode=Mode.INFER,
    dtype="float32",
    params_bytes=100_000_000,
    input_bytes=4_000_000,
    output_bytes=1_000_000,
)


def test_hand_numbers_of_a_call_that_computing_binds() -> None:
    # 8e9 MACs at 100e9 a second: 80 ms; 105e6 bytes at 50e9 a second: 2.1 ms.
    assert bound(WORK, LIMITS) == Bound(latency_s=0.080, by=BoundBy.COMPUTE, bytes_lower_bound=105_000_000)


def test_hand_numbers_of_a_call_that_memory_binds() -> None:
    # 1e6 MACs: 0.01 ms.
    light = replace(WORK, macs=1_000_000, batch=1)
    assert bound(light, LIMITS) == Bound(latency_s=0.0021, by=BoundBy.BANDWIDTH, bytes_lower_bound=105_000_000)


def test_hand_numbers_of_a_training_step() -> None:
    training = replace(WORK, mode=Mode.TRAIN)
    # Three times the MACs; the gradients of the parameters are written as well.
    assert bound(training, LIMITS) == Bound(latency_s=0.240, by=BoundBy.COMPUTE, bytes_lower_bound=205_000_000)


@pytest.mark.parametrize("part", ["params_bytes", "input_bytes", "output_bytes"])
def test_every_part_moves_once_in_inference(part: str) -> None:
    more = replace(WORK, **{part: getattr(WORK, part) + 7})
    assert bytes_lower_bound(more) - bytes_lower_bound(WORK) == 7


def test_parameters_are_read_once_whatever_the_batch() -> None:
    assert bytes_lower_bound(replace(WORK, batch=80)) == bytes_lower_bound(WORK)


def test_the_bound_grows_with_the_batch_where_computing_binds() -> None:
    twice = bound(replace(WORK, batch=16), LIMITS)
    assert twice.latency_s == pytest.approx(2 * bound(WORK, LIMITS).latency_s)


def test_a_dtype_has_a_rate_of_its_own() -> None:
    assert bound(replace(WORK, dtype="bfloat16"), LIMITS).latency_s == pytest.approx(0.020)


def test_half_precision_is_never_bounded_by_less_than_single_precision_can_do() -> None:
    assert LIMITS.rate("float16") == 100e9
    assert replace(LIMITS, macs_per_s={"float16": 10e9}).rate("float16") == 10e9


def test_single_precision_is_not_bounded_by_what_half_precision_can_do() -> None:
    assert LIMITS.rate("float32") == 100e9


def test_a_dtype_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(KeyError, match="float64"):
        bound(replace(WORK, dtype="float64"), LIMITS)


def test_of_two_measurements_the_higher_rate_counts_with_its_own_uncertainty() -> None:
    one = replace(LIMITS, macs_per_s={"float32": 1e9, "float16": 3e9}, uncertainty={"float32": 0.3, "float16": 0.1})
    other = replace(
        LIMITS, macs_per_s={"float32": 2e9, "bfloat16": 4e9}, bytes_per_s=60e9, uncertainty={"float32": 0.2}
    )
    found = one.or_higher(other)
    assert found.macs_per_s == {"bfloat16": 4e9, "float16": 3e9, "float32": 2e9}
    assert found.bytes_per_s == 60e9
    assert found.uncertainty == {"float16": 0.1, "float32": 0.2}
    assert one.or_higher(None) is one


def test_a_call_faster_than_its_bound_shows_a_share_above_one() -> None:
    found = bound(WORK, LIMITS).metrics(0.040)
    assert found == {
        "latency_bound_s": pytest.approx(0.080),
        "bound_by": "compute",
        "roofline_fraction": pytest.approx(2.0),
    }


def test_metrics_and_limits_survive_json() -> None:
    assert MachineLimits.from_dict(json.loads(json.dumps(LIMITS.to_dict()))) == LIMITS
    assert json.loads(json.dumps(bound(WORK, LIMITS).metrics(0.1)))["bound_by"] == "compute"


@pytest.mark.parametrize("input_needs_gradient", [True, False])
def test_training_takes_the_multiply_adds_that_torch_counts_but_for_the_first_input_gradient(
    input_needs_gradient: bool,
) -> None:
    batch, tokens, dim = 2, 5, 8
    query, value = nn.Linear(dim, dim), nn.Linear(dim, dim)
    x = torch.randn(batch, tokens, dim, requires_grad=input_needs_gradient)
    with FlopCounterMode(display=False) as counter:
        q, v = query(x), value(x)
        (q @ q.transpose(1, 2) @ v).sum().backward()
    forward = 2 * tokens * dim**2 + 2 * tokens**2 * dim
    first = 0 if input_needs_gradient else 2 * tokens * dim**2
    assert counter.get_total_flops() == 2 * (macs_per_call(forward, batch=batch, mode=Mode.TRAIN) - batch * first)


def test_what_follows_from_a_time_repeats_no_count() -> None:
    """What a rejected row was timed at is taken from it, and its counts stay."""
    assert bound(WORK, LIMITS).metrics(1.0).keys() <= {*metrics.of(metrics.Needs.LATENCY)}
