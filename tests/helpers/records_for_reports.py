"""Made-up rows for the tests of the reports. The figures follow the mechanisms' growth, their values mean nothing."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from attnbench.metrics import METRICS

BUILT_IN = ("mhsa", "swin", "hmhsa", "qna", "lavit")
OUT_OF_MEMORY = "needs 43.1 GiB of 31.2 GiB free, estimated before running"
_GROWTH = {"mhsa": 2.0, "swin": 1.0, "hmhsa": 1.3, "qna": 1.05, "lavit": 2.6}
_SPEED = {"mhsa": 1.0, "swin": 1.12, "hmhsa": 0.93, "qna": 0.78, "lavit": 1.02}


def row(mechanism: str = "mhsa", height: int = 224, width: int | None = None, **columns: Any) -> dict[str, Any]:
    """Return an ok row; ``columns`` replace what it would hold."""
    width = height if width is None else width
    growth, size = _GROWTH.get(mechanism, 1.5), height * width / 224**2
    latency = 0.016 * _SPEED.get(mechanism, 0.6 + 0.11 * (ord(mechanism[-1]) % 17)) * size**growth
    base = 0.016 * size ** _GROWTH["mhsa"]
    return {
        **_asked(mechanism, height, width),
        "status": "ok",
        "reason": "",
        "params": int(28.3e6 * _SPEED.get(mechanism, 1.1)),
        "macs": int(4.49e9 * size**growth),
        "macs_attention": int(0.26e9 * size**growth),
        "memory_peak_bytes": int(
            60 * 2**20 * _SPEED.get(mechanism, 0.6 + 0.11 * (ord(mechanism[-1]) % 17)) * size**growth
        ),
        "latency_median_s": latency,
        "latency_ci_low_s": 0.985 * latency,
        "latency_ci_high_s": 1.018 * latency,
        "latency_samples": 61,
        "latency_stopped_by": "precision",
        "throughput_img_per_s": 1 / latency,
        "baseline": "mhsa",
        "latency_ratio": latency / base,
        "latency_ratio_ci_low": latency / base * (1 if mechanism == "mhsa" else 0.994),
        "latency_ratio_ci_high": latency / base * (1 if mechanism == "mhsa" else 1.007),
        "hardware": "Xeon 8480, 2 cores",
        "environment_id": "e1f0",
        "attnbench_version": "0.1.0",
        "torch_version": "2.11.0",
        **columns,
    }


def failed(mechanism: str, height: int, status: str, reason: str, **columns: Any) -> dict[str, Any]:
    """Return a row that was counted but neither timed nor run."""
    whole = row(mechanism, height)
    counted = {name: whole[name] for name in ("params", "macs", "macs_attention", "baseline")}
    return {**_asked(mechanism, height, height), **counted, "status": status, "reason": reason, **columns}


def default_run() -> pd.DataFrame:
    """Return five mechanisms at three resolutions, with a failure of two kinds."""
    rows = [row(mechanism, size) for size in (224, 384, 512) for mechanism in BUILT_IN]
    rows[-1] = failed("lavit", 512, "out-of-memory", OUT_OF_MEMORY)
    rows[-5] = failed("mhsa", 512, "timeout", "no answer within 600 s")
    return pd.DataFrame(rows)


def single_resolution() -> pd.DataFrame:
    """Return the five mechanisms at one resolution, one of them unsupported."""
    rows = [row(mechanism) for mechanism in BUILT_IN]
    rows[-1] = failed("lavit", 224, "unsupported", "binds a layer to one token count")
    return pd.DataFrame(rows)


def with_accuracy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a proxy accuracy beside every mechanism."""
    top1 = {"mhsa": 0.783, "swin": 0.801, "hmhsa": 0.812, "qna": 0.807, "lavit": 0.771}
    found = frame.copy()
    found["accuracy_top1"] = [top1.get(name, 0.7 + 0.005 * (ord(name[-1]) % 17)) for name in frame["mechanism"]]
    found["accuracy_ci_low"] = found["accuracy_top1"] - 0.008
    found["accuracy_ci_high"] = found["accuracy_top1"] + 0.009
    return found.assign(accuracy_kind="proxy", accuracy_seeds=3, accuracy_status="ok", dataset="digits", epochs=10)


def with_task(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with what each mechanism learned of a task, along its axis."""
    curve = "1: 0.99 0.98 1; 2: 0.9 0.95 0.85; 4: 0.6 0.5 0.7; 8: 0.13 0.12 0.14; 16: 0.12 0.13 0.11"
    return frame.assign(
        accuracy_kind="task", accuracy_top1=0.5, accuracy_ci_low=0.45, accuracy_ci_high=0.55, accuracy_seeds=3,
        accuracy_status="ok", dataset="shift", epochs=5, accuracy_axis="offset (tokens)", accuracy_curve=curve,
        accuracy_ceiling="1: 1; 2: 0.9; 4: 0.7; 8: 0.3; 16: 0.125", accuracy_chance=0.125, accuracy_holds_to=4,
    )  # fmt: skip


def many_mechanisms(count: int = 14, sizes: tuple[int, ...] = (224, 384, 512)) -> pd.DataFrame:
    """Return the five built-in mechanisms and others, as many as asked."""
    names = [*BUILT_IN, *(f"plugin_{letter}" for letter in "abcdefghijklmnop")][:count]
    return pd.DataFrame([row(name, size) for size in sizes for name in names])


def counted_only() -> pd.DataFrame:
    """Return the five mechanisms counted and neither run nor timed."""
    kept = {"params", "macs", "macs_attention"}
    measured = [name for name in METRICS if name in row() and name not in kept]
    return pd.DataFrame([row(mechanism) | dict.fromkeys(measured) for mechanism in BUILT_IN])


def all_failed() -> pd.DataFrame:
    """Return three mechanisms of which none ran anywhere."""
    kinds = {
        "mhsa": ("crashed", "killed by signal 9"),
        "swin": ("failed", "RuntimeError: no kernel"),
        "qna": ("timeout", "no answer within 600 s"),
    }
    return pd.DataFrame(
        [
            {**failed(name, size, *kind), "params": None, "macs": None, "macs_attention": None}
            for size in (224, 512)
            for name, kind in kinds.items()
        ]
    )


def _asked(mechanism: str, height: int, width: int) -> dict[str, Any]:
    return {
        "run_id": "20260101-120000",
        "cell_key": f"{mechanism}-{height}x{width}",
        "started_at": "2026-01-01T12:00:00Z",
        "mechanism": mechanism,
        "label": mechanism,
        "options": json.dumps({}),
        "plugin_distribution": "attnbench 0.1.0",
        "scope": "backbone",
        "res_height": height,
        "res_width": width,
        "batch": 1,
        "mode": "infer",
        "dtype": "float32",
        "device": "cpu",
        "threads": 2,
        "compiled": False,
        "is_baseline": mechanism == "mhsa",
    }
