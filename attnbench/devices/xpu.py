"""Intel's GPUs."""

from __future__ import annotations

from attnbench.devices.accelerator import Accelerator


class XpuDevice(Accelerator):
    """An XPU. Its events need oneAPI 2025; where they do not agree with the host's clock they are not used."""

    kind = "xpu"
    ran_out = ("UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY", "UR_RESULT_ERROR_OUT_OF_RESOURCES")
    lacks = ("Required aspect fp64 is not supported", "Required aspect fp16 is not supported")
