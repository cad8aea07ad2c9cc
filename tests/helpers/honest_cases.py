"""What honest layers and networks are asked for: one table for ``test_no_false_alarms.py``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAYERS = Path(__file__).parent / "honest_layers" / "kinds.py"
_BOTH = {"mode": ["infer", "train"], "dtype": ["float32", "bfloat16"]}

KINDS = (
    "CachesAMask", "IndexesABias", "FoldsWeights", "Autotunes", "DropsOut", "NormsBatches", "NormsSpectra",
    "FollowsAMean", "PoolsAtRandom", "ReadsTheGenerator", "CompilesInside", "ReturnsAView", "ReturnsItsInput",
    "ChannelsLast", "Checkpoints", "Routes", "Quantises", "TakesPowers", "SumsInOrder", "LinearStates",
)  # fmt: skip
"""Layers of ``honest_layers/kinds.py``."""
_NO_GRAPH = ("Autotunes", "CompilesInside", "ReadsTheGenerator")
"""Layers that ask the clock, have a graph inside, or depend on the seed, for each of which torch compiles anew."""
BUILT_IN = tuple(
    sorted(
        path.parent.name.replace("_", "-") for path in (Path(__file__).parents[2] / "mechanisms").glob("*/__init__.py")
    )
)
OURS = (
    "hat_net_tiny", "hat_net_small", "hat_net_medium", "hat_net_large", "qna_vit_tiny", "qna_vit_tiny_7x7",
    "qna_vit_small", "qna_vit_base", "lavit_tiny", "lavit_small", "lavit_base",
)  # fmt: skip
TIMM = (
    "eca_botnext26ts_256", "test_byobnet", "cait_xxs24_224", "coat_tiny", "convit_tiny", "test_convnext",
    "cpubone_nano", "csatv2", "cs3darknet_focus_s", "cspnext_tiny", "davit_tiny", "deit_tiny_patch16_224",
    "densenet121", "dla34", "dpn48b", "edgenext_xx_small", "efficientformerv2_s0", "test_efficientnet",
    "efficientvim_m1", "efficientvit_b0", "efficientvit_m0", "vit_tiny_patch16_dinov3_qkvb", "fasternet_t0",
    "fastvit_t8", "focalnet_tiny_srf", "gcvit_xxtiny", "ghostnet_050", "hardcorenas_b", "hgnetv2_b0",
    "hiera_tiny_224", "sam2_hiera_tiny", "hrnet_w18_small", "iformer_t", "inception_next_atto", "lcnetv2_small",
    "levit_128", "lowformer_b0", "test_mambaout", "test_coatnet", "poolformer_s12", "gmlp_ti16_224",
    "mobilenetv3_small_050", "mobilevit_xxs", "mvitv2_tiny", "test_nfnet", "pit_ti_224", "pvt_v2_b0", "rdnet_tiny",
    "regnetx_004_tv", "repghostnet_050", "repvit_m1", "res2net50_26w_4s", "resnest14d", "test_resnet",
    "resnetv2_18", "rexnet_100", "sequencer2d_s", "shvit_s1", "skresnet18", "starnet_s050", "swiftformer_xs",
    "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "tiny_vit_5m_224", "twins_svt_small", "test_vit",
    "visformer_tiny", "test_vit_relpos", "volo_d1_224", "ese_vovnet19b_slim_dw", "xcit_nano_12_p8_224",
    "xception41p",
)  # fmt: skip
"""The smallest network, or one of the smallest, of so many modules of timm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Honest:
    """One call of ``attnbench.run``."""

    name: str
    asked: Mapping[str, object]


def _parts(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))


def _paths(names: Sequence[str]) -> list[str]:
    return [f"{LAYERS}:{name}" for name in names]


def _of_kinds() -> Iterator[Honest]:
    layer = {"scope": "layer", "res": [112], "depth": [2]}
    for part in _parts(KINDS, 5):
        yield Honest(name=f"{part[0]} and others", asked={"mechanisms": ["mhsa", *_paths(part)], **layer, **_BOTH})
        graphs = [each for each in part if each not in _NO_GRAPH]
        asked = {"mechanisms": _paths(graphs), **layer, "compile": ["on"]}
        yield Honest(name=f"{part[0]} and others, compiled", asked=asked)
    yield Honest(name="kinds, warm", asked={"mechanisms": _paths(KINDS[:6]), **layer, "cache": ["cold", "warm"]})


def _of_built_ins() -> Iterator[Honest]:
    halves = {"mode": ["infer", "train"], "dtype": ["float32", "bfloat16", "float16"]}
    for part in _parts(BUILT_IN, 7):
        yield Honest(name=f"{part[0]} and others", asked={"mechanisms": part, "scope": "layer", "res": [224], **halves})
        yield Honest(name=f"{part[0]} and others, backbone", asked={"mechanisms": part, "res": [64], **_BOTH})
        yield Honest(
            name=f"{part[0]} and others, compiled",
            asked={
                "mechanisms": part, "scope": "layer", "res": [112], "depth": [2], "compile": ["on"],
                "dtype": ["float32", "bfloat16"],
            },
        )  # fmt: skip


def _of_networks() -> Iterator[Honest]:
    for part in _parts(OURS, 4):
        yield Honest(name=f"{part[0]} and others", asked={"networks": part, "res": [64], **_BOTH})
    for part in _parts(TIMM, 6):
        yield Honest(name=f"{part[0]} and others", asked={"networks": part, "res": [64], "batch": [2], **_BOTH})
    compiled = ["hat_net_tiny", "qna_vit_tiny", "deit_tiny_patch16_224", "test_efficientnet"]
    for mode in ("infer", "train"):
        asked = {"networks": compiled, "res": [64], "compile": ["on"], "mode": [mode]}
        yield Honest(name=f"networks compiled, {mode}", asked=asked)


QUICK = (
    Honest(
        name="layers of each kind",
        asked={
            "mechanisms": ["mhsa", *_paths(["FoldsWeights", "Autotunes", "PoolsAtRandom"])],
            "scope": "layer", "res": [56], "depth": [1],
        },
    ),
    Honest(
        name="layers of each kind in training",
        asked={
            "mechanisms": ["mhsa", *_paths(["DropsOut", "NormsSpectra"])],
            "scope": "layer", "res": [56], "depth": [1], "mode": ["train"],
        },
    ),
)  # fmt: skip
FULL = (*_of_kinds(), *_of_built_ins(), *_of_networks())
