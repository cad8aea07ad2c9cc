"""Profiles as data: what ``--json`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnbench.explain.asking import Explained
from attnbench.explain.categories import category, launches, seconds
from attnbench.explain.latencies import latency_s
from attnbench.explain.profiles import CallProfile
from attnbench.explain.words import conclusion
from attnbench.report import naming


def plain(found: Sequence[Explained], *, left_out: str = "") -> dict[str, Any]:
    """Return what was found as JSON has it, in seconds."""
    names = naming.names([each.record.cell for each in found])
    done = {names[each.record.cell.key]: each.profile for each in found if each.profile}
    return {
        "conclusion": conclusion(done) if done else None,
        "left_out": left_out,
        "cells": [
            {
                "cell": names[each.record.cell.key],
                "cell_key": each.record.cell.key,
                "failure": each.failure or None,
                "measured_elsewhere": each.elsewhere,
                "latency_in_run_s": latency_s(each),
                "profile": _plain(each.profile) if each.profile else None,
            }
            for each in found
        ],
    }


def _plain(profile: CallProfile) -> dict[str, Any]:
    ran = launches(profile)
    return {
        "total_s": profile.total_s,
        "profiled_s": profile.profiled_s,
        "not_profiled_s": profile.plain_s,
        "attention_s": profile.attention_s,
        "on_device": profile.on_device,
        "calls_profiled": profile.calls,
        "launches": profile.launches,
        "categories": {
            name: {"self_s": value, "share": value / profile.total_s, "launches": ran[name]}
            for name, value in seconds(profile).items()
        },
        "operators": [
            {"name": each.name, "category": category(each.name), "self_s": each.self_s, "launches": each.launches}
            for each in profile.operators
        ],
    }
