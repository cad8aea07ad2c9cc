"""The conformance kit itself: mechanisms that are broken on purpose, each caught by the one check that is about it."""

import os
import random
import shlex
import subprocess
import sys
import threading
import time
import weakref
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from rich.console import Console
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from attnbench.conformance.finding import in_a_line
from attnbench.conformance.table import findings_table
from attnbench.errors import PluginError, UsageError
from attnbench.mechanism import Macs, Map, Mechanism, Site
from attnbench.plugins.adapter import adapt
from attnbench.testing import CHECKS, FOUNDATIONS, CheckOutcome, check, check_mechanism

SITES = [Site(height=6, width=4, dim=8, heads=2), Site(height=3, width=5, dim=8, heads=2)]


class Sound(Mechanism):
    """Attention with one head and nothing wrong: what the broken ones are made of."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.key = nn.Linear(site.dim, site.dim, bias=False)
        self.value = nn.Linear(site.dim, site.dim, bias=False)

    def weights(self, x: Tensor) -> Tensor:
        return (self.key(x) @ x.transpose(1, 2)).softmax(-1)

    def forward(self, x: Map) -> Map:
        tokens = x.flatten(1, 2)
        return (self.weights(tokens) @ self.value(tokens)).view(x.shape)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs | None:
        return Macs(projections=2 * site.tokens * site.dim**2, attention=2 * site.tokens**2 * site.dim)


class RefusesWithoutReason(Sound):
    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:
        return "" if site.width == 5 else super().why_unsupported(site)


class RefusesAll(Sound):
    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:
        return "too hard"


class AcceptsWhatItCannotRun(Sound):
    def forward(self, x: Map) -> Map:
        return super().forward(x).view(x.shape[0], -1, 4, 8).view(x.shape)


class Broadcasts(Sound):
    def forward(self, x: Map) -> Map:
        return super().forward(x).mean((1, 2), keepdim=True)


class NotFinite(Sound):
    def forward(self, x: Map) -> Map:
        return super().forward(x) / (x > x.amin()).to(x.dtype)


class ReturnsDouble(Sound):
    def forward(self, x: Map) -> Map:
        return super().forward(x).double()


class ReturnsFloat(Sound):
    """Casts in half precision only."""

    def forward(self, x: Map) -> Map:
        y = super().forward(x)
        return y.float() if x.dtype.itemsize == 2 else y


class SetsThreads(Sound):
    def forward(self, x: Map) -> Map:
        torch.set_num_threads(torch.get_num_threads() % 3 + 1)
        return super().forward(x)


class KeepsEveryMap(Sound):
    def forward(self, x: Map) -> Map:
        y = super().forward(x)
        self.__dict__.setdefault("kept", []).append(y)
        return y


class ComparesASample(Sound):
    """Takes a map whose first values it has seen for the last one."""

    def forward(self, x: Map) -> Map:
        if torch.is_grad_enabled():
            return super().forward(x)
        seen = (x.shape, x.flatten()[:4].tolist())
        if self.__dict__.get("seen") != seen:
            self.__dict__.update(seen=seen, last=super().forward(x))
        return self.__dict__["last"]


class Random(Sound):
    def forward(self, x: Map) -> Map:
        return nn.functional.dropout(super().forward(x), 0.5)


class RemembersTheFirst(Sound):
    """Treats maps unlike the first one differently."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.first: int | None = None

    def seen(self, x: Map) -> int:
        return x.shape[1] * x.shape[2]

    def forward(self, x: Map) -> Map:
        self.first = self.first or self.seen(x)
        y = super().forward(x)
        return y if self.seen(x) == self.first else -y


class RemembersTheFirstBatch(RemembersTheFirst):
    def seen(self, x: Map) -> int:
        return x.shape[0]


class RemembersTheLast(RemembersTheFirst):
    def forward(self, x: Map) -> Map:
        last, self.first = self.first, self.seen(x)
        y = Sound.forward(self, x)
        return y if last in {None, self.first} else -y


class MasksForItsFirstMap(Sound):
    """Takes no map but those of the size of its first; allowed, since a layer is built for one."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.mask: Tensor | None = None

    def weights(self, x: Tensor) -> Tensor:
        if self.mask is None:
            self.mask = x.new_zeros(x.shape[1], x.shape[1])
        return (self.key(x) @ x.transpose(1, 2) + self.mask.to(x)).softmax(-1)


class NormsTheBatch(Sound):
    def forward(self, x: Map) -> Map:
        return super().forward(x - x.mean((0, 1, 2)))


class HidesState(Sound):
    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.table = [torch.rand(1)]

    def forward(self, x: Map) -> Map:
        return super().forward(x) * self.table[0].to(x)


class HasUnusedParameter(Sound):
    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.forgotten = nn.Parameter(torch.zeros(3))


class DetachesKeys(Sound):
    def weights(self, x: Tensor) -> Tensor:
        return super().weights(x.detach())


class DetachesTheMean(Sound):
    """Its only way to far tokens is one that no gradient takes."""

    def forward(self, x: Map) -> Map:
        return self.value(x) + self.key(x) * x.detach().mean((1, 2), keepdim=True)

    macs = Mechanism.macs


class DetachesAll(Sound):
    def forward(self, x: Map) -> Map:
        with torch.no_grad():
            return super().forward(x)


class Overflows(Sound):
    def forward(self, x: Map) -> Map:
        big = torch.as_tensor(1e30, dtype=x.dtype, device=x.device)
        return super().forward(x) * big / big


class HasOtherBackend(Sound):
    def __init__(self, site: Site, *, backend: Literal["plain", "scaled"] = "plain") -> None:
        super().__init__(site)
        self.scale = {"plain": 1.0, "scaled": 1.001}[backend]

    def forward(self, x: Map) -> Map:
        return self.scale * super().forward(x)


class InfersOtherwise(Sound):
    """What only infers is another layer where it is called, which is not in float64."""

    infers_only = ("quick",)

    def __init__(self, site: Site, *, backend: Literal["plain", "quick"] = "plain") -> None:
        super().__init__(site)
        self.quick = backend == "quick"

    def forward(self, x: Map) -> Map:
        return super().forward(x) * (1.001 if self.quick and x.dtype is torch.float32 else 1)


class CountsWrong(Sound):
    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:
        return Macs(projections=2 * site.tokens * site.dim**2, attention=site.tokens**2 * site.dim)


class CountsHalves(Sound):
    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:
        return Macs(projections=-5, attention=0.5)


class RaisesInLines(Sound):
    def forward(self, x: Map) -> Map:
        if x.shape[2] == 5:
            raise ValueError("no:\n  not\n  here")
        return super().forward(x)


class ClaimsToBeLocal(Sound):
    reach = "local"


class ClaimsToBeGlobal(Sound):
    def weights(self, x: Tensor) -> Tensor:
        tokens = torch.arange(x.shape[1], device=x.device)
        near = (tokens[:, None] - tokens).abs() < 9
        return (self.key(x) @ x.transpose(1, 2)).masked_fill(~near, float("-inf")).softmax(-1)


class BreaksTheGraph(Sound):
    exports = False

    def forward(self, x: Map) -> Map:
        torch._dynamo.graph_break()
        return super().forward(x)


class CannotBeExported(Sound):
    compiles = False

    def forward(self, x: Map) -> Map:
        flag = (x > -1e9).all()
        return super().forward(x) if x.device.type == "meta" or flag else x


class OtherWeights(Sound):
    """Draws its weights from the system."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        generator = torch.Generator()
        generator.seed()
        with torch.no_grad():
            self.value.weight.normal_(generator=generator)


class WhenTimed(Sound):
    """Does something else where inference is timed."""

    compiles = exports = False

    def forward(self, x: Map) -> Map:
        y = super().forward(x)
        return self.timed(x, y) if torch.is_inference_mode_enabled() else y

    def timed(self, x: Map, y: Map) -> Map:
        raise NotImplementedError


class WritesIntoInput(WhenTimed):
    def timed(self, x: Map, y: Map) -> Map:
        x.mul_(0.5)
        return y


class ChangesItsWeights(WhenTimed):
    def timed(self, x: Map, y: Map) -> Map:
        self.value.weight.data.mul_(1.001)
        return y


class IsDoneLater(WhenTimed):
    def timed(self, x: Map, y: Map) -> Map:
        later = torch.zeros_like(y)

        def fill() -> None:
            time.sleep(0.02)
            with torch.inference_mode():
                later.copy_(y)

        threading.Thread(target=fill).start()
        return later


class Lazy(Tensor):
    """May be worked out when it is looked at."""


class ReturnsLazily(WhenTimed):
    def timed(self, x: Map, y: Map) -> Map:
        return y.as_subclass(Lazy)


class SpinsOn(WhenTimed):
    """Has a thread that burns a core for as long as the layer lives."""

    def timed(self, x: Map, y: Map) -> Map:
        if "thread" not in self.__dict__:
            thread = threading.Thread(target=self.spin, args=(weakref.ref(self),), daemon=True)
            self.__dict__["thread"] = thread
            thread.start()
        return y

    @staticmethod
    def spin(layer: "weakref.ref[SpinsOn]") -> None:
        while layer() is not None:
            pass


class WorksInNumpy(Sound):
    compiles = exports = False

    def forward(self, x: Map) -> Map:
        y = super().forward(x)
        if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
            np.ones(2**22)
        return y


class LessWhenTimed(WhenTimed):
    def timed(self, x: Map, y: Map) -> Map:
        return 0.5 * y


class CountsItsCalls(Sound):
    """Is honest for as long as anybody looks: the first calls."""

    compiles = exports = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.calls = 0

    def forward(self, x: Map) -> Map:
        self.calls += 1
        return super().forward(x) if self.calls < 30 else 0.5 * super().forward(x)


class LearnsLess(CountsItsCalls):
    """Drops the gradient of its keys after its first steps."""

    def forward(self, x: Map) -> Map:
        self.calls += self.training
        return Sound.forward(self, x)

    def weights(self, x: Tensor) -> Tensor:
        found = super().weights(x)
        return found.detach() if self.calls > 30 else found


class HalfInside(Sound):
    """Rounds to bfloat16 what it is given in float32."""

    def forward(self, x: Map) -> Map:
        return super().forward(x.bfloat16().float() if x.dtype is torch.float32 else x)


BROKEN = {
    RefusesWithoutReason: "supported",
    RefusesAll: "supported",
    AcceptsWhatItCannotRun: "supported",
    Broadcasts: "shape",
    RaisesInLines: "supported",
    NotFinite: "shape",
    ReturnsDouble: "shape",
    ReturnsFloat: "half-precision",
    SetsThreads: "global-state",
    Random: "deterministic",
    RemembersTheFirst: "deterministic",
    RemembersTheFirstBatch: "deterministic",
    RemembersTheLast: "deterministic",
    ComparesASample: "answers-anew",
    KeepsEveryMap: "keeps-nothing",
    NormsTheBatch: "images-apart",
    HidesState: "state-dict",
    OtherWeights: "seeded",
    WritesIntoInput: "input-kept",
    ChangesItsWeights: "weights-kept",
    IsDoneLater: "done-on-return",
    ReturnsLazily: "done-on-return",
    SpinsOn: "at-rest",
    WorksInNumpy: "memory-inside",
    LessWhenTimed: "as-timed",
    CountsItsCalls: "as-timed",
    LearnsLess: "as-timed",
    HalfInside: "precision",
    HasUnusedParameter: "gradients-reach",
    DetachesKeys: "gradients-right",
    DetachesTheMean: "gradients-right",
    Overflows: "half-precision",
    HasOtherBackend: "backends",
    InfersOtherwise: "backends",
    CountsWrong: "macs",
    CountsHalves: "macs",
    ClaimsToBeLocal: "reach",
    ClaimsToBeGlobal: "reach",
    BreaksTheGraph: "compiles",
    CannotBeExported: "exports",
}


def test_a_sound_mechanism_passes_every_check() -> None:
    report = check(Sound, sites=SITES)
    assert report.passed, str(report)
    assert [each.check for each in report.findings] == list(CHECKS)


@pytest.mark.parametrize("mechanism", BROKEN, ids=lambda each: each.__name__)
def test_what_is_broken_is_caught_by_the_check_that_is_about_it_and_by_no_other(mechanism: type[Mechanism]) -> None:
    report = check(mechanism, sites=SITES)
    assert [each.check for each in report.failures] == [BROKEN[mechanism]], str(report)


def test_every_check_has_a_mechanism_that_it_catches() -> None:
    assert {*BROKEN.values(), "macs-counted"} == set(CHECKS)


def test_multiply_adds_that_no_counter_knows_are_named_and_no_fault() -> None:
    class Fourier(Sound):
        def forward(self, x: Map) -> Map:
            return torch.fft.fft2(super().forward(x), dim=(1, 2)).real

        macs = Mechanism.macs

    (finding,) = check(Fourier, checks=["macs-counted"]).findings
    assert finding.outcome is CheckOutcome.NOT_CLAIMED
    assert finding.found.startswith("not ranked by multiply-adds: they leave out aten._fft")
    assert check(Sound, checks=["macs-counted"]).findings[0].outcome is CheckOutcome.PASSED


def test_checks_leave_the_generators_of_others_where_they_were() -> None:
    before = [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # type: ignore[index, union-attr]
    check(Sound, sites=SITES, checks=["as-timed", "seeded"])
    after = [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # type: ignore[index, union-attr]
    assert after == before


def test_a_layer_that_raises_at_maps_of_another_size_is_not_blamed() -> None:
    report = check(MasksForItsFirstMap, sites=SITES, checks=["deterministic"])
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("mechanism", "expected", "found", "advice"),
    [
        (RaisesInLines, "accepts can be built and run", "accepted, but raises ValueError: no: not here", "or refuse"),
        (Broadcasts, "(2, 6, 4, 8), the shape of the map", "(2, 1, 1, 8)", ""),
        (NotFinite, "finite values throughout", "1 of 384 values are NaN or infinite", "division by 0"),
        (ReturnsDouble, "torch.float32, the dtype", "torch.float64 for a map of torch.float32", ".to(x.dtype)"),
        (ReturnsFloat, "torch.bfloat16, the dtype", "torch.float32 for a map of torch.bfloat16", ".to(x.dtype)"),
        (RefusesAll, "a site that it can be checked at", "every site is refused: too hard", ""),
        (SetsThreads, "what everyone in the process shares", "threads from ", ""),
        (RemembersTheFirst, "whatever maps came before", "(2, 6, 8, 8) gives another result", "not even a size"),
        (HasUnusedParameter, "every parameter", "none reaches 0.forgotten, 1.forgotten, 2.forgotten", "not used"),
        (DetachesKeys, "finite differences", "the gradient of the input is not that of", "look for detach()"),
        (CountsWrong, "23,040 MACs in 3 layers", "torch counts 36,864, 13,824 more than that", "fix macs"),
        (CountsHalves, "whole numbers of multiply-adds", "macs raises ValueError: Macs.projections is -5; ", "with //"),
        (Overflows, "8 times the type's epsilon", "torch.float16 is off by", "scale before"),
        (ClaimsToBeLocal, "reach is 'local'", "depends on those from row and column 28", 'reach = "global"'),
        (ClaimsToBeGlobal, "reach is 'global'", "no gradient reaches those from row and column 28 on from the first",
         'reach = "local"'),
    ],
)  # fmt: skip
def test_a_failure_says_in_a_line_each_what_was_expected_what_was_found_and_what_to_do(
    mechanism: type[Mechanism], expected: str, found: str, advice: str
) -> None:
    report = check(mechanism, sites=SITES, checks=[*FOUNDATIONS, BROKEN[mechanism]])
    (failure,) = report.failures
    assert expected in failure.expected
    assert found in failure.found
    assert advice in failure.advice
    assert [line[:2] for line in str(report).splitlines()[2:]] == ["  "] * (3 + bool(failure.advice))


def test_a_gradient_that_is_wrong_is_one_failure_and_not_two() -> None:
    report = check(DetachesTheMean, sites=SITES, checks=["gradients-right", "reach"])
    gradients, reach = report.findings
    assert gradients.outcome is CheckOutcome.FAILED
    assert (reach.outcome, reach.found) == (CheckOutcome.NOT_RUN, "fix gradients-right first")


def test_a_layer_without_any_gradient_is_told_so_in_words() -> None:
    first, second = check(DetachesAll, sites=SITES, checks=["gradients-reach", "gradients-right"]).failures
    assert first.found == "none reaches the input"
    assert second.found.startswith("at 3x3 tokens, ")


def test_what_somebody_raises_at_length_is_one_line_that_ends_at_a_word() -> None:
    said = in_a_line(ValueError("several\nlines " + "of words " * 100))
    assert said.startswith("ValueError: several lines of words")
    assert said.endswith((" of ...", " words ..."))
    assert in_a_line(ValueError()) == "ValueError"


def test_checks_that_rely_on_one_that_failed_are_not_run() -> None:
    outcomes = [each.outcome for each in check(Broadcasts, sites=SITES).findings]
    assert outcomes == [CheckOutcome.PASSED, CheckOutcome.FAILED, *[CheckOutcome.NOT_RUN] * (len(CHECKS) - 2)]


def test_an_error_within_a_check_is_a_finding() -> None:
    class CannotLoad(Sound):
        def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
            raise ArithmeticError("not today")

    (failure,) = check(CannotLoad, sites=SITES, checks=["state-dict"]).failures
    assert failure.found == "ArithmeticError: not today"
    assert failure.expected == CHECKS["state-dict"].__doc__.rstrip(".")


def test_the_line_of_a_failure_shows_it_again_and_nothing_else() -> None:
    (failure,) = check(NormsTheBatch, sites=SITES).failures
    _, *arguments = shlex.split(failure.reproduce)
    again = subprocess.run(
        [sys.executable, *arguments], cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONPATH": "."},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 1
    assert "1 of 1 checks failed" in again.stderr
    assert failure.found in again.stderr


def test_a_failing_mechanism_fails_a_test_with_everything_that_is_wrong() -> None:
    check_mechanism(Sound, sites=SITES, checks=["shape"])
    with pytest.raises(AssertionError, match=r"(?s)macs\n  expected .*\n  found .*\n  python -c"):
        check_mechanism(CountsWrong, sites=SITES, checks=["macs"])


def test_a_name_may_carry_options_and_says_where_it_comes_from() -> None:
    report = check("swin:window=3", checks=["shape"], backend="unfused")
    assert report.passed
    assert report.distribution.startswith("attnbench ")
    assert "check_mechanism('swin:window=3', checks=['shape'], backend='unfused')" in report.findings[0].reproduce


def test_what_a_stranger_does_not_claim_is_not_held_against_it() -> None:
    from timm.models.vision_transformer import Attention

    report = check(adapt(Attention))
    assert report.passed, str(report)
    unclaimed = {each.check for each in report.findings if each.outcome is CheckOutcome.NOT_CLAIMED}
    assert unclaimed == {"backends", "macs", "reach", "compiles", "exports"}


def test_a_class_that_is_no_mechanism_is_adapted_as_by_its_name() -> None:
    class Theirs(nn.Linear):
        layout = "BNC"

        def __init__(self, dim: int) -> None:
            super().__init__(dim, dim)

    assert check(Theirs, sites=SITES, checks=["supported", "shape"]).passed


def test_an_exit_is_a_failure_and_does_not_end_the_checks() -> None:
    class Exits(Sound):
        def forward(self, x: Map) -> Map:
            raise SystemExit(0)

    (failure,) = check(Exits, sites=SITES, checks=["supported"]).failures
    assert failure.found == "accepted, but raises SystemExit: 0"


def test_an_option_that_there_is_not_and_no_site_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown option 'heds'"):
        check(Sound, sites=SITES, heds=3)
    with pytest.raises(UsageError, match="no site to check at"):
        check(Sound, sites=[])


def test_names_that_there_are_not_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown check 'shap'; did you mean shape"):
        check("mhsa", checks=["shap"])
    with pytest.raises(PluginError, match="unknown mechanism 'mhs'"):
        check("mhs")


def test_the_table_has_every_check_and_how_it_ended() -> None:
    report = check(CountsWrong, sites=SITES, checks=["supported", "macs", "backends"])
    console = Console(width=80, record=True, file=StringIO())
    console.print(findings_table(report))
    shown = console.export_text()
    assert "CountsWrong from " in shown
    assert [line.split()[:2] for line in shown.splitlines()[2:]] == [
        ["supported", "passed"], ["macs", "failed"], ["backends", "not"],
    ]  # fmt: skip


class InfersOnly(nn.Module):
    """Attention whose kernel has no backward pass."""

    layout = "BNC"

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and any(p.requires_grad for p in (x, *self.parameters())):
            raise RuntimeError("no backward on this device")
        return self.attention(x)


def test_a_layer_without_a_backward_pass_is_told_how_to_say_so() -> None:
    broken, *_ = check(InfersOnly, checks=["supported"]).findings
    assert broken.outcome is CheckOutcome.FAILED
    assert "trains = False" in broken.advice


def test_a_layer_that_only_infers_passes_and_claims_no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InfersOnly, "trains", False, raising=False)
    report = check(InfersOnly)
    assert report.passed, str(report)
    outcomes = {each.check: each.outcome for each in report.findings}
    assert outcomes["gradients-right"] is outcomes["gradients-reach"] is CheckOutcome.NOT_CLAIMED
