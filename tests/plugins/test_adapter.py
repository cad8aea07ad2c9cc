"""Modules that know nothing of attnbench, taken as they are. What they are compared with is the module itself."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timm.layers import Attention2d
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from attnbench.errors import PluginError
from attnbench.mechanism import Mechanism, Site
from attnbench.models import subject
from attnbench.plugins import options
from attnbench.plugins.adapter import adapt
from attnbench.plugins.layout import Layout
from attnbench.plugins.registry import discover
from attnbench.record import Cell, Scope
from attnbench.worker.counts import count

SITE = Site(height=6, width=4, dim=24, heads=3)
FILE = '''
"""Somebody's layers."""
from torch import nn


class Tokens(nn.Module):
    """Mixes nothing."""

    def __init__(self, embed_dim, num_heads=8, gain: float = 2.0, bias=True, norm_layer=nn.LayerNorm):
        super().__init__()
        self.heads, self.gain = num_heads, gain
        self.linear = nn.Linear(embed_dim, embed_dim, bias=bias)

    def forward(self, x):
        b, n, c = x.shape
        return self.gain * self.linear(x.reshape(b, n, self.heads, -1).flatten(2))


class Secret(nn.Module):
    def __init__(self, dim, window_size):
        super().__init__()


class Sized(nn.Module):
    def __init__(self, dim, sizes: dict):
        super().__init__()


class Gives(nn.Module):
    def __init__(self, dim):
        super().__init__()

    def forward(self, query, key, value):
        return query


def a_function(x):
    return x
'''


class Nhwc(nn.Module):
    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(height, width, channels))

    def forward(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        assert (height, width) == self.bias.shape[:2]
        return x.cumsum(1) + self.bias


class Nchw(nn.Module):
    def __init__(self, dim: int, input_resolution: tuple[int, int]) -> None:
        super().__init__()
        self.size = input_resolution
        self.conv = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2:] == self.size
        return self.conv(x).view(x.shape[0], -1).view(x.shape)


class Sized(nn.Module):
    """Called with the size of the map beside its tokens, as PVT's attention is; returns its scores as well."""

    def __init__(self, dim: int, dim_head: int) -> None:
        super().__init__()
        assert dim_head == 8
        self.linear = nn.Linear(dim, dim)

    def forward(self, x: Tensor, H: int, W: int) -> tuple[Tensor, None]:  # noqa: N803
        return self.linear(x.transpose(1, 2).reshape(x.shape[0], -1, H, W).flatten(2).transpose(1, 2)), None


class EveryLayout(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(1)


class ReadsNumbers(nn.Module):
    """Cannot be built or run without data."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = torch.linspace(0, 1, dim)[-1].item()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        _, _, _ = x.shape
        return self.linear(x) if x.sum().item() == 0 else self.scale * self.linear(x)


def laid_out(x: Tensor, layout: str) -> Tensor:
    return {"BHWC": x, "BNC": x.reshape(x.shape[0], -1, x.shape[3]), "BCHW": x.permute(0, 3, 1, 2).contiguous()}[layout]


class Fails(nn.Module):
    def __init__(self, dim: int, message: str = "") -> None:
        super().__init__()
        self.message = message

    def forward(self, x: Tensor) -> Tensor:
        raise ArithmeticError(self.message)


class FailsToBuild(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        assert dim % 5 == 0, "dim should be divisible by num_heads"

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize(
    ("layer", "layout"),
    [
        (Attention, "BNC"),
        (Attention2d, "BCHW"),
        (Nhwc, "BHWC"),
        (Nchw, "BCHW"),
        (Sized, "BNC"),
        (ReadsNumbers, "BNC"),
    ],
)
def test_a_foreign_layer_gives_what_it_gives_by_itself(layer: type[nn.Module], layout: Layout) -> None:
    torch.manual_seed(0)
    mechanism = adapt(layer)(SITE).eval()
    x = torch.randn(2, SITE.height, SITE.width, SITE.dim)
    further = (SITE.height, SITE.width) if layer is Sized else ()
    alone = mechanism.layer(laid_out(x, layout), *further)
    alone = alone[0] if layer is Sized else alone
    assert mechanism.layout == layout
    torch.testing.assert_close(laid_out(mechanism(x), layout), alone, rtol=0, atol=0)


def test_heads_and_channels_are_those_of_the_site() -> None:
    layer = adapt(Attention)(SITE).layer
    assert (layer.num_heads, layer.qkv.in_features) == (3, 24)


def test_finding_the_layout_leaves_the_weights_as_they_would_be() -> None:
    torch.manual_seed(0)
    alone = ReadsNumbers(24)
    torch.manual_seed(0)
    assert torch.equal(adapt(ReadsNumbers)(SITE).layer.linear.weight, alone.linear.weight)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.py"
    path.write_text(FILE)
    return path


def load(file: Path, name: str) -> type[Mechanism]:
    return discover().find(f"{file}:{name}").load()


def test_a_plain_class_of_a_file_is_named_as_it_is_and_its_defaults_are_options(file: Path) -> None:
    mechanism = load(file, "Tokens")
    assert options.resolve(mechanism, {}) == {"gain": 2.0, "bias": True}
    assert options.resolve(mechanism, {"gain": "3", "bias": "off"}) == {"gain": 3.0, "bias": False}
    assert mechanism(SITE, gain=0.0)(torch.ones(1, 6, 4, 24)).abs().max() == 0


def test_layers_that_are_built_alike_are_tried_once() -> None:
    built: list[int] = []

    class Noted(nn.Linear):
        layout = "BHWC"

        def __init__(self, dim: int) -> None:
            super().__init__(dim, dim)
            built.append(dim)

    mechanism = adapt(Noted)
    for layer in range(3):
        assert mechanism.why_unsupported(replace(SITE, layer=layer, depth=3)) is None
    assert built == [SITE.dim]
    assert mechanism.why_unsupported(replace(SITE, dim=2 * SITE.dim)) is None
    assert built == [SITE.dim, 2 * SITE.dim]


def test_a_plain_class_is_counted_by_machine_where_it_has_no_closed_form(file: Path) -> None:
    cell = Cell(
        mechanism=f"{file}:Tokens", scope=Scope.LAYER, height=64, width=64, stage=3, dim=24, heads=3, depth=2,
        options={"gain": 2.0, "bias": True},
    )  # fmt: skip
    found = count(subject.of(cell))
    assert found["macs"] == found["macs_torch"] == 4 * 4 * 24**2
    assert found["macs_closed"] is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Sized", r"theirs.py sha256:\w+: Sized needs sizes, .*Sized = adapt\(Sized, sizes=...\)"),
        ("Gives", r"theirs.py sha256:\w+: Gives.forward needs key, value beside the map"),
        (
            "a_function",
            r"theirs.py:a_function is a function; a subclass of .* is needed, .*; a_function needs x, which no",
        ),
    ],
)
def test_what_cannot_be_adapted_is_refused_with_what_would_do(file: Path, name: str, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        load(file, name)


def test_one_line_fixes_what_a_site_does_not_have(file: Path) -> None:
    file.write_text(
        FILE + "\nfrom attnbench import adapt\n"
        "Windows = adapt(Secret, window_size=7, layout='BNC')\n"
        "Built = adapt(lambda site: Tokens(site.dim, site.heads, gain=1.0))\n"
    )
    assert load(file, "Windows")(SITE).layout == "BNC"
    assert load(file, "Built")(SITE).layer.gain == 1.0


def test_a_layout_that_trying_cannot_tell_must_be_declared() -> None:
    with pytest.raises(
        PluginError, match=r'BHWC and as BNC and as BCHW; .*EveryLayout:layout=BCHW, layout = "BCHW" in the class'
    ):
        adapt(EveryLayout).why_unsupported(SITE)
    EveryLayout.layout = "BNC"
    x = torch.randn(1, 6, 4, 24)
    torch.testing.assert_close(adapt(EveryLayout)(SITE)(x), x.reshape(1, 24, 24).softmax(1).reshape(x.shape))


def test_an_argument_that_there_is_not_cannot_be_fixed() -> None:
    with pytest.raises(PluginError, match="Attention takes no 'qkv_bia'; did you mean qkv_bias"):
        adapt(Attention, qkv_bia=True)


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(PluginError, match="write one of BHWC, BNC, BCHW"):
        adapt(Attention, layout="NCHW")


def test_a_site_at_which_a_layer_raises_is_unsupported_with_what_it_raised() -> None:
    assert adapt(Nhwc).why_unsupported(SITE) is None
    reason = adapt(Fails, message="not today").why_unsupported(SITE)
    assert reason == "it keeps the shape of a map in no layout: ArithmeticError: not today"
    reason = adapt(FailsToBuild).why_unsupported(SITE)
    assert reason == "it raises AssertionError: dim should be divisible by num_heads"


def test_a_layer_that_keeps_its_shape_in_no_layout_says_what_each_returned() -> None:
    class Halves(nn.Module):
        def __init__(self, dim: int) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            return x[..., : x.shape[-1] // 2]

    reason = adapt(Halves).why_unsupported(replace(SITE, heads=2))
    assert reason is not None
    for said in ("BHWC: (1, 6, 4, 12) for (1, 6, 4, 24)", "BNC: (1, 24, 12) for (1, 24, 24)", "BCHW: (1, 24, 6, 2)"):
        assert said in reason


def test_claims_that_a_foreign_class_makes_are_kept_and_none_are_made_for_it() -> None:
    class Claims(Attention):
        reach = "global"
        compiles = True
        paper = "Somebody, 2026"

    kept, plain = adapt(Claims), adapt(Attention)
    assert (kept.reach, kept.compiles, kept.exports, kept.paper) == ("global", True, False, "Somebody, 2026")
    assert (plain.reach, plain.compiles, plain.exports, plain.paper) == (None, False, False, "")


class WithClassToken(nn.Module):
    """Takes a token before those of the map, as a ViT's attention with a fixed number of tokens does."""

    def __init__(self, dim: int, heads: int, seq_len: int = 25) -> None:
        super().__init__()
        self.attention, self.seq_len = nn.MultiheadAttention(dim, heads, batch_first=True), seq_len

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == self.seq_len, "expects a class token"
        return self.attention(x, x, x)[0]


def test_tokens_before_the_map_are_given_and_dropped() -> None:
    torch.manual_seed(0)
    mechanism = adapt(WithClassToken, prefix_tokens=1)(SITE).eval()
    x = torch.randn(2, SITE.height, SITE.width, SITE.dim)
    tokens = torch.cat([mechanism.prefix.expand(2, -1, -1), x.reshape(2, SITE.tokens, SITE.dim)], dim=1)
    assert mechanism.layer.seq_len == SITE.tokens + 1
    torch.testing.assert_close(mechanism(x).reshape(2, SITE.tokens, SITE.dim), mechanism.layer(tokens)[:, 1:])
    assert sum(p.numel() for p in mechanism.parameters()) == sum(p.numel() for p in mechanism.layer.parameters())


def test_a_layer_that_takes_one_token_more_is_told_of_class_tokens() -> None:
    class Fixed(WithClassToken):
        def __init__(self, dim: int, heads: int) -> None:
            super().__init__(dim, heads, SITE.tokens + 1)

    reason = adapt(Fixed).why_unsupported(SITE)
    assert reason is not None
    assert "is that a class token? write :prefix_tokens=1 behind its name, say prefix_tokens = 1 in the class" in reason
    Fixed.prefix_tokens = 1
    assert adapt(Fixed).why_unsupported(SITE) is None


def test_tokens_before_the_map_need_a_row_of_tokens() -> None:
    with pytest.raises(PluginError, match="layout BNC, and not in BCHW"):
        adapt(Nchw, layout="BCHW", prefix_tokens=1)


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float = 2.0, dropout: float | None = None) -> Tensor:
    assert dropout is None
    return (scale * q @ k.mT).softmax(-1) @ v


def test_a_function_of_q_k_and_v_stands_between_projections() -> None:
    mechanism = adapt(qkv=attend)
    assert options.resolve(mechanism, {}) == {"scale": 2.0}
    torch.manual_seed(0)
    layer = mechanism(SITE, scale=SITE.head_dim**-0.5).eval()
    theirs = Attention(SITE.dim, SITE.heads, qkv_bias=True).eval()  # timm's, the same mathematics
    theirs.load_state_dict({k.replace("project", "proj"): v for k, v in layer.layer.state_dict().items()})
    x = torch.randn(2, SITE.height, SITE.width, SITE.dim)
    torch.testing.assert_close(layer(x).flatten(1, 2), theirs(x.flatten(1, 2)))


def test_a_function_that_changes_the_shape_says_so() -> None:
    reason = adapt(qkv=lambda query, key, value: value.mean(1)).why_unsupported(SITE)
    assert reason is not None
    assert "returned (1, 24, 8) for (1, 3, 24, 8) (B, h, N, d); the shape must be kept" in reason


@pytest.mark.parametrize("given", [{}, {"layer": Attention, "qkv": attend}])
def test_a_layer_or_a_function_is_adapted(given: dict[str, object]) -> None:
    with pytest.raises(PluginError, match=r"adapt\(MyLayer\) or adapt\(qkv=my_attention\)"):
        adapt(**given)


NAMED = """
import functools
from timm.models.vision_transformer import Attention
from torch import nn

def attend(q, k, v, *, scale: float = 1.0):
    return scale * v

def build(dim, num_heads):
    return Attention(dim, num_heads)

Biased = functools.partial(Attention, qkv_bias=True)
built = nn.Linear(3, 3)
causal = functools.partial(nn.functional.scaled_dot_product_attention, is_causal=True)

def otherwise(a, b, c):
    return c

NOT_ONE = 7

class Config:
    def __init__(self, hidden_size, num_attention_heads):
        self.hidden_size = hidden_size

class Configured(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.linear = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states):
        batch, tokens, channels = hidden_states.shape
        return self.linear(hidden_states)

class Placed(nn.Module):
    layout = "BHWC"

    def __init__(self, dim, site=None):
        super().__init__()
        self.linear, self.site = nn.Linear(dim, dim), site

    def forward(self, x):
        return self.linear(x)
"""


@pytest.fixture
def named(tmp_path: Path) -> Path:
    path = tmp_path / "named.py"
    path.write_text(NAMED)
    return path


@pytest.mark.parametrize(("name", "option"), [("attend", {"scale": 1.0}), ("build", {}), ("Biased", {})])
def test_functions_and_partials_of_a_file_are_named_as_they_are(
    named: Path, name: str, option: dict[str, object]
) -> None:
    mechanism = load(named, name)
    assert option.items() <= options.resolve(mechanism, {}).items()
    assert mechanism(SITE)(torch.zeros(1, 6, 4, 24)).shape == (1, 6, 4, 24)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("built", "named.py:built is a Linear; a subclass of .* is needed, a function of q, k and v, or one that"),
        (
            "otherwise",
            r"needs a, b, c, which no site has; where it is a function of q, k and v, .*adapt\(qkv=otherwise",
        ),
        ("causal", r"does not say what it takes; if that is q, k and v, write Mine = adapt\(qkv=scaled_dot"),
        ("NOT_ONE", "named.py:NOT_ONE is a int; a subclass of"),
        ("Config", "named.py:Config is the class Config; a subclass of"),
        (
            "Configured",
            r"Configured needs config, which no site has; this works at .*: Mine = adapt\(lambda site: Configured",
        ),
    ],
)
def test_what_cannot_be_taken_leads_to_what_can(named: Path, name: str, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        load(named, name)


def test_the_line_that_a_message_shows_for_a_configuration_works(named: Path) -> None:
    named.write_text(
        NAMED + "\nfrom attnbench import adapt\n"
        "Mine = adapt(lambda site: Configured(Config(hidden_size=site.dim, num_attention_heads=site.heads)))\n"
    )
    assert load(named, "Mine")(SITE).layer.linear.in_features == SITE.dim


def test_an_argument_called_site_gets_the_site_whatever_its_default(named: Path) -> None:
    assert load(named, "Placed")(SITE).layer.site == SITE
