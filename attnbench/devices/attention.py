"""Which kernels torch's fused attention may use: the axis ``sdpa``.

Torch has one flag a kernel, for the process, whatever the device. They are set for a cell's own phases and before each
of its timed calls, outside the timed part, so that cells that differ in nothing else are timed in turn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch.backends import cuda

AUTO = "auto"
_FLAGS: Mapping[str, tuple[Callable[[], bool], Callable[[bool], None]]] = {
    "flash": (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
    "efficient": (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
    "cudnn": (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
    "math": (cuda.math_sdp_enabled, cuda.enable_math_sdp),
}
_REFUSALS = ("No available kernel", "No viable backend for scaled_dot_product_attention")
"""What torch says where no kernel that it may use can do what it was given."""
_ABOUT_KERNELS = ("kernel", "attention", "Expected")
"""Words of the warnings in which torch says why a kernel cannot; the others are a plugin's own."""


class NoKernelError(Exception):
    """Torch may use one kernel only, which cannot run here; the message is torch's reason."""


class Kernels:
    """The flags as they were found, and what they are set to for a cell."""

    def __init__(self) -> None:
        self._usual: Mapping[str, bool] = {name: read() for name, (read, _) in _FLAGS.items()}

    def allow(self, kernel: str) -> None:
        """Let torch use one kernel, or with ``auto`` those that it might use when this object was made."""
        for name, (read, write) in _FLAGS.items():
            wanted = self._usual[name] if kernel == AUTO else name == kernel
            if read() != wanted:
                write(wanted)


@contextmanager
def allowed(kernel: str) -> Iterator[None]:
    """Let torch use one kernel within the block.

    Raises:
        NoKernelError: it cannot run what it was given there.
    """
    if kernel == AUTO:
        yield
        return
    kernels = Kernels()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        kernels.allow(kernel)
        try:
            yield
        except Exception as error:  # a plugin may have wrapped what torch raised
            if not any(refusal in str(error) for refusal in _REFUSALS):
                raise
            raise NoKernelError(_reason(kernel, error, [str(each.message) for each in said])) from error
        finally:
            kernels.allow(AUTO)
    for each in said:
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _reason(kernel: str, error: Exception, said: list[str]) -> str:
    """Return torch's reason: what it warned of on the way, else what it raised."""
    told = [text.partition(" (Triggered internally")[0] for text in said]
    told = [" ".join(text.split()) for text in told if any(word in text for word in _ABOUT_KERNELS)]
    raised = " ".join(str(error).split())
    return f"torch cannot use its {kernel} kernel here: {'; '.join(dict.fromkeys(told)) or raised}"
