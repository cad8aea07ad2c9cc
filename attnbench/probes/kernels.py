"""Which kernels of torch's fused attention really ran: what was asked for and what torch chose may differ.

Operators are seen by the profiler, on the host, as they are dispatched, so that nothing they choose by changes. A
mode that intercepts operators would see less: with autograd off the choice happens beneath it, the unfused path
looks like any other products, and compiled code hides from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from torch.autograd.profiler import profile

KERNELS = {
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_efficient_attention": "efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_fused_attention_overrideable": "overrideable",
    "aten::_scaled_dot_product_attention_math": "math",
    "aten::_scaled_dot_product_attention_math_for_mps": "math",
}
"""What ``scaled_dot_product_attention`` calls by name, and the backend that it stands for; ``math`` is not fused."""


@contextmanager
def attention_kernels() -> Iterator[set[str]]:
    """Yield a set that holds the backends which ran in the block, once the block has ended.

    It stays empty where no attention goes through ``scaled_dot_product_attention``, written out in steps or a kernel
    of another library. Backward passes name no further ones. Blocks cannot be nested, in each other or in a profiler.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it reports each start and stop on stderr
    ran: set[str] = set()
    with profile(use_kineto=True) as profiler:
        yield ran
    assert profiler.kineto_results is not None
    ran.update(KERNELS[name] for event in profiler.kineto_results.events() if (name := event.name()) in KERNELS)
