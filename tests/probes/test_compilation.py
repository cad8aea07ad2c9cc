import re

import pytest
import torch
from torch import Tensor, nn

from attnbench.probes.compilation import Compiled, graphs, isolated, warm


class Repeated(nn.Module):
    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.linear(x)
        return x


@pytest.fixture(autouse=True)
def _eager_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamo is what is tested; inductor would take minutes."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **options: compile_(f, backend="eager", **options))
    torch._dynamo.reset()


def cached_graphs(compiled: object) -> int:
    code = compiled._torchdynamo_orig_callable.__code__
    return len(torch._dynamo.eval_frame._debug_get_cache_entry_list(code))


def test_many_modules_of_one_class_are_all_compiled_and_share_no_guards() -> None:
    before, x = graphs(), torch.randn(2, 4)
    compiled = [isolated(Repeated(times)) for times in range(1, 13)]
    for each in compiled:
        each(x)
    assert graphs() - before == 12
    assert [cached_graphs(each) for each in compiled] == [1] * 12


def test_a_compiled_module_returns_what_the_module_returns() -> None:
    model, x = Repeated(3), torch.randn(2, 4)
    torch.testing.assert_close(isolated(model)(x), model(x))


def test_the_first_call_compiles_and_the_next_do_not() -> None:
    compiled, x = isolated(Repeated(2)), torch.randn(2, 4)
    found = warm(lambda: compiled(x), synchronize=lambda: None)
    assert found.compile_s > 0
    assert found.recompilations == 0


class Excluded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    @torch.compiler.disable
    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.excluded, self.after = nn.Linear(4, 4), Excluded(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.excluded(self.before(x)))


class Looks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        return x * 0 if float(x.detach().abs().max()) > 1e9 else self.inner(x)


@torch.no_grad()
def warmed(model: nn.Module) -> Compiled:
    compiled, x = isolated(model), torch.randn(2, 4)
    return warm(lambda: compiled(x), synchronize=lambda: None)


def test_what_is_compiled_whole_is_one_graph_without_a_break() -> None:
    warmed(Looks())  # the counters are the process's
    found = warmed(Repeated(2))
    assert (found.graphs, found.breaks, found.breaks_at, found.why_not) == (1, 0, "", "")


def test_what_is_compiled_in_pieces_says_where_and_why() -> None:
    found = warmed(Looks())
    assert (found.graphs, found.why_not) == (2, "")
    assert found.breaks >= 1  # torch counts a reason once more where it looks at the frame again
    assert "Tensor.item()" in found.breaks_at
    assert re.search(r"\(test_compilation.py:\d+\)", found.breaks_at)


def test_an_excluded_layer_among_others_is_a_break() -> None:
    found = warmed(Around())
    assert (found.graphs, found.why_not) == (2, "")
    assert found.breaks >= 1
    assert "torch.compiler.disable()" in found.breaks_at


def test_what_is_excluded_as_a_whole_is_not_compiled() -> None:
    found = warmed(Excluded())
    assert found.graphs == 0
    assert found.why_not.startswith("torch.compile compiled nothing of it: Skip inlining `torch.compiler.disable()`")


def test_recompilations_are_counted() -> None:
    compiled = isolated(Repeated(2))
    sizes = iter([2, 3, 4, 5])
    found = warm(lambda: compiled(torch.randn(next(sizes), 4)), synchronize=lambda: None)
    assert found.recompilations == 3


@pytest.mark.parametrize("raised", [None, 1_000_000], ids=["as torch has it", "as timm.optim leaves it"])
def test_running_uncompiled_past_the_limit_is_an_error_not_a_figure(raised: int | None) -> None:
    if raised:
        torch._dynamo.config.recompile_limit = raised
    compiled = isolated(Repeated(2))

    def call_at_many_sizes() -> None:
        for size in range(2, 40):
            compiled(torch.randn(size, 4))

    with pytest.raises(Exception, match="recompile_limit"):
        call_at_many_sizes()
