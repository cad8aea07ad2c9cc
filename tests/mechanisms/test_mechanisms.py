"""Every mechanism against its definition, against somebody else's layer, and for what it costs: a row each.

The rows are in ``mechanism_cases.py``; what one paper alone promises is tested in a file of the mechanism's name, and
what is asked of all mechanisms as they come in ``test_contract.py``.
"""

from __future__ import annotations

import pytest
import torch
from case import Case, Counted, Memory, Other, Place, each
from layer_checks import (
    assert_both_counters_find_the_closed_form,
    assert_closed_form,
    assert_compiles_into_one_graph,
    assert_error,
    assert_exports,
    assert_half_precision_is_near,
    assert_heads_must_divide,
    assert_images_do_not_see_each_other,
    assert_output_and_gradients,
    assert_refused,
    assert_same_with_its_weights,
    bytes_saved_for_backward,
    recorded_forward,
    recorded_training,
)
from mechanism_cases import CASES

from attnbench.plugins.registry import discover


def test_every_registered_mechanism_has_a_row() -> None:
    assert {case.mechanism for case in CASES.values()} == {one.load() for one in discover().plugins.values()}
    assert CASES.keys() == discover().plugins.keys()


@each(CASES, lambda case: case.with_backends(case.defined_at))
def test_output_and_gradients_are_those_of_the_definition(case: Case, row: Place) -> None:
    layer, x = case.layer_and_map(row)
    before, expected = x.detach().clone(), case.definition(layer, x, **row.options)
    assert_output_and_gradients(layer, x, expected, within=case.within, gradients_within=case.gradients_within)
    assert torch.equal(x, before)


@each(CASES, lambda case: [(other, place) for other in case.others for place in case.with_backends(other.places)])
def test_output_is_that_of_another_layer_with_the_same_weights(case: Case, row: tuple[Other, Place]) -> None:
    other, place = row
    layer, x = case.layer_and_map(place, dtype=other.dtype)
    other.prepare(layer)
    out, expected = layer(x), other.expected(layer, x, **place.options)
    torch.testing.assert_close(out, expected, rtol=other.rtol, atol=other.atol)
    if other.assert_gradients is not None:
        other.assert_gradients(*(torch.autograd.grad(one.square().sum(), x)[0] for one in (out, expected)))


@each(CASES, lambda case: case.usual if case.backends else ())
def test_backends_have_the_same_parameters_and_output(case: Case, row: Place) -> None:
    first, *others = case.with_backends([row])
    layer, x = case.layer_and_map(first)
    for other in others:
        assert_same_with_its_weights(case.mechanism(other.site, **other.options), layer, x)


@each(CASES, lambda case: case.with_backends(case.usual))
def test_images_of_a_batch_do_not_see_each_other_in_training_either(case: Case, row: Place) -> None:
    layer, x = case.layer_and_map(row, batch=3)
    for training in (True, False):
        assert_images_do_not_see_each_other(layer.train(training), x)


@each(CASES, lambda case: [(counted, place) for counted in case.counted for place in counted.places])
def test_the_closed_form_is_what_a_machine_counts(case: Case, row: tuple[Counted, Place]) -> None:
    counted, place = row
    assert_closed_form(case.mechanism, place.site, counted.parts, **place.options)


@each(CASES, lambda case: case.counters_agree_at)
def test_both_counters_find_the_closed_form_and_leave_nothing_uncounted(case: Case, row: Place) -> None:
    assert_both_counters_find_the_closed_form(case.mechanism, row.site, **row.options)


@each(CASES, lambda case: case.macs)
def test_macs_are_those_worked_out_by_hand(case: Case, row: tuple) -> None:
    site, options, macs = row
    assert case.mechanism.macs(site, **options) == macs


@each(CASES, lambda case: case.adaptations)
def test_adaptation_says_what_is_done_to_a_map_that_does_not_fit(case: Case, row: tuple) -> None:
    site, options, said = row
    assert case.mechanism.adaptation(site, **options) == said


@each(CASES, lambda case: case.refused)
def test_values_that_no_site_could_take_are_refused(case: Case, row: tuple) -> None:
    site, options, said = row
    assert_refused(case.mechanism, site, said, **options)
    for name in case.refused_by:
        assert_error(getattr(case.mechanism, name), site, said, options)


@each(CASES, lambda case: case.usual)
def test_heads_that_do_not_divide_the_channels_are_refused_with_the_reason(case: Case, row: Place) -> None:
    assert_heads_must_divide(case.mechanism, row.site, **row.options)


@each(CASES, lambda case: case.defined_at)
def test_every_map_is_taken(case: Case, row: Place) -> None:
    assert case.mechanism.why_unsupported(row.site, **row.options) is None
    assert case.mechanism.why_unsupported(row.site) is None


@each(CASES, lambda case: case.memory)
def test_memory_is_as_said(case: Case, row: Memory) -> None:
    layer, x = case.layer_and_map(row.place, batch=1, dtype=torch.float32)
    if row.saved_below is not None:
        assert sum(bytes_saved_for_backward(layer, x)) < row.saved_below
    else:
        made = (recorded_training if row.training else recorded_forward)(layer, x).largest
        assert made == row.largest if row.largest_below is None else made < row.largest_below


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@each(CASES, lambda case: case.with_backends(case.usual if case.half_precision_at is None else case.half_precision_at))
def test_half_precision_stays_near_float64(case: Case, row: Place, dtype: torch.dtype) -> None:
    assert_half_precision_is_near(*case.layer_and_map(row), dtype)


@each(CASES, lambda case: case.with_backends(case.usual) if case.compiled_at is None else case.compiled_at)
def test_compiles_into_one_graph_forward_and_backward(case: Case, row: Place) -> None:
    rtol, atol = case.compiled_within
    assert_compiles_into_one_graph(*case.layer_and_map(row, dtype=torch.float32), rtol=rtol, atol=atol)


@each(CASES, lambda case: case.exported_at)
def test_exports(case: Case, row: Place) -> None:
    assert_exports(*case.layer_and_map(row))
