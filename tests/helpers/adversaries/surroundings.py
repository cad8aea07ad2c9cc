"""Layers that change the process for everyone in it, where they are built or where they are called."""

import builtins
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from honest import Attention
from torch.nn.modules import module

LATE = 12
"""Calls of a layer before the timed ones are fewer."""
kept = []


class _AtBuild(Attention):
    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.change()


class _InForward(Attention):
    def forward(self, x):
        if type(x) is torch.Tensor and not x.is_meta:
            self.change()
        return super().forward(x)


class _Late(Attention):
    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls == LATE:
            self.change()
        return super().forward(x)


class StopsClocks(_AtBuild):
    """Its clocks stand, its devices are never waited for, garbage is collected in the timed part."""

    def change(self):
        time.perf_counter_ns = time.monotonic_ns = lambda: 0
        torch.cuda.synchronize = torch.accelerator.synchronize = lambda *_: None
        gc.enable = gc.disable = gc.collect


class StopsTheClockLate(_Late):
    def change(self):
        time.perf_counter_ns = lambda: 0


class PatchesLate(_Late):
    def change(self):
        linear = torch.nn.functional.linear
        torch.nn.functional.linear = lambda *args: linear(*args) + 0 * linear(*args)


class PatchesInForward(_InForward):
    def change(self):
        torch.Tensor.matmul = torch.matmul


class BreaksPrinting(_InForward):
    def change(self):
        builtins.print = json.dumps = lambda *_, **__: "5"


class BreaksModules(_InForward):
    def change(self):
        sys.modules.clear()


class OpensFiles(_InForward):
    def change(self):
        kept.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(1_000_000))


class ClosesFiles(_InForward):
    def change(self):
        os.closerange(3, 64)


class LeavesTheFolder(_InForward):
    def change(self):
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        Path(folder).rmdir()


class LowersLimits(_InForward):
    def change(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))


class SetsAnAlarm(_InForward):
    def change(self):
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.alarm(1000)


class SetsVariables(_InForward):
    def change(self):
        os.environ["HOME"] = "/nowhere"


class StopsCollecting(_InForward):
    def change(self):
        gc.disable()


class StartsThreads(_InForward):
    def change(self):
        for _ in range(300):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()


class BurnsACore(_AtBuild):
    def change(self):
        threading.Thread(target=self.spin, daemon=True).start()

    def spin(self):
        while True:
            pass


class SpinsAfterItsCall(Attention):
    """Starts a thread after its calls that burns a core in the turns of others, and rests in its own."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.thread = None
        self.rests = False

    def spin(self):
        while True:
            if self.rests:
                time.sleep(0.001)

    def forward(self, x):
        if not torch.is_inference_mode_enabled():
            return super().forward(x)
        self.rests = True
        y = super().forward(x)
        if self.thread is None:
            self.thread = threading.Thread(target=self.spin, daemon=True)
            self.thread.start()
        self.rests = False
        return y


class SpinsForAWhile(Attention):
    """Has a thread that burns a core in the turns after its own, and is at rest when anybody looks."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.thread, self.rings = None, threading.Event()

    def spin(self):
        while True:
            self.rings.wait()
            self.rings.clear()
            until = time.thread_time() + 0.02
            while time.thread_time() < until and not self.rings.is_set():
                pass

    def forward(self, x):
        if not torch.is_inference_mode_enabled():
            return super().forward(x)
        y = super().forward(x)
        if self.thread is None:
            self.thread = threading.Thread(target=self.spin, daemon=True)
            self.thread.start()
        self.rings.set()
        return y


class StartsAProcess(_AtBuild):
    def change(self):
        kept.append(subprocess.Popen(["sleep", "1000"]))


class HooksEveryModule(_AtBuild):
    def change(self):
        module.register_module_forward_hook(lambda *_: time.sleep(0.01))


class SetsTheCompiler(_AtBuild):
    def change(self):
        torch._dynamo.config.suppress_errors = True


class EntersAMode(_AtBuild):
    def change(self):
        class Slow(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, function, types, args=(), kwargs=None):
                return function(*args, **(kwargs or {}))

        Slow().__enter__()


class BringsAKernel(_AtBuild):
    def change(self):
        if not kept:
            kept.append(torch.library.Library("aten", "IMPL"))
            kept[0].impl("hardswish", lambda x: x, "CPU")
