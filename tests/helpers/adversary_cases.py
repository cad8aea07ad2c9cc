"""The adversaries, a row each: one table for ``test_adversaries.py``."""

from __future__ import annotations

from adversary import Adversary

CASES = (
    Adversary(
        layer="memory.py:KeepsEveryMap",
        kind="an answer used again",
        status="failed",
        said=r"keeps [\d,]+ bytes of tensors more after every call",
    ),
    Adversary(
        layer="patches_torch.py:Patched",
        kind="others made slower",
        status="ok",
        said=r"rebinds torch\.nn\.functional\.scaled_dot_product_attention",
    ),
    Adversary(
        layer="surroundings.py:StopsClocks",
        kind="the instruments changed",
        status="ok",
        said=r"rebinds time\.monotonic_ns, time\.perf_counter_ns, gc\.\w+, gc\.\w+, torch",
    ),
    Adversary(
        layer="surroundings.py:StopsTheClockLate",
        kind="the instruments changed",
        status="rejected",
        said=r"its timed calls change the process for everyone: rebinds time\.perf_counter_ns",
    ),
    Adversary(
        layer="surroundings.py:PatchesLate",
        kind="others made slower",
        status="rejected",
        said=r"its timed calls .* rebinds torch\.nn\.functional\.linear",
    ),
    Adversary(
        layer="surroundings.py:PatchesInForward",
        kind="others made slower",
        status="failed",
        said=r"forward pass changes the process .* rebinds torch\.Tensor\.matmul",
    ),
    Adversary(
        layer="surroundings.py:BreaksPrinting",
        kind="the instruments changed",
        status="failed",
        said=r"rebinds builtins\.print, json\.dumps",
    ),
    Adversary(
        layer="surroundings.py:BreaksModules",
        kind="others harmed",
        status="failed",
        said=r"changes entries of sys\.modules: ",
    ),
    Adversary(
        layer="surroundings.py:OpensFiles",
        kind="others harmed",
        status="failed",
        said=r"leaves so many files open that no other can be opened",
    ),
    Adversary(
        layer="surroundings.py:ClosesFiles",
        kind="others harmed",
        status="crashed",
        said=r"Bad file descriptor",
    ),
    Adversary(
        layer="surroundings.py:LeavesTheFolder",
        kind="others harmed",
        status="failed",
        said=r"changes working folder from .* to one that is gone",
    ),
    Adversary(
        layer="surroundings.py:LowersLimits",
        kind="others harmed",
        status="failed",
        said=r"changes limits of the process: RLIMIT_FSIZE",
    ),
    Adversary(
        layer="surroundings.py:SetsAnAlarm",
        kind="others harmed",
        status="failed",
        said=r"handlers of signals: SIGALRM; changes timers that send signals: real",
    ),
    Adversary(
        layer="surroundings.py:SetsVariables",
        kind="others harmed",
        status="failed",
        said=r"changes environment variables HOME",
    ),
    Adversary(
        layer="surroundings.py:StopsCollecting",
        kind="others made slower",
        status="failed",
        said=r"changes garbage collection: on",
    ),
    Adversary(
        layer="surroundings.py:StartsThreads",
        kind="others made slower",
        status="failed",
        said=r"leaves [\d,]+ threads running",
    ),
    Adversary(
        layer="surroundings.py:BurnsACore",
        kind="others made slower",
        status="rejected",
        said=r"keeps \d\.\d cores busy while nothing is called",
    ),
    Adversary(
        layer="surroundings.py:StartsAProcess",
        kind="others made slower",
        status="ok",
        said=r"leaves \d+ processes running",
    ),
    Adversary(
        layer="surroundings.py:HooksEveryModule",
        kind="others made slower",
        status="ok",
        said=r"changes hooks on all modules",
    ),
    Adversary(
        layer="surroundings.py:SetsTheCompiler",
        kind="others made slower",
        status="ok",
        said=r"changes settings of torch\._dynamo: suppress_errors",
    ),
    Adversary(
        layer="surroundings.py:EntersAMode",
        kind="others made slower",
        status="failed",
        said=r"changes modes of torch's functions: .*Slow",
    ),
    Adversary(
        layer="surroundings.py:BringsAKernel",
        kind="others made slower",
        status="ok",
        said=r"changes kernels of torch's own operators: aten/hardswish/CPU",
    ),
    Adversary(
        layer="impossible.py:WorksWhenCounted",
        kind="less work when it counts",
        status="rejected",
        said=r"times as fast as this machine can be|another answer than the layer's",
    ),
    *(
        Adversary(
            layer=f"elsewhere.py:{layer}",
            kind="memory outside the allocator",
            status="suspicious",
            said=r"a call takes 3\d\.?\d* MiB past torch's allocator, beside the [\d.]+ [KM]iB of its peak",
        )
        for layer in ("InNumpy", "InMappedMemory", "FromTheLibrary")
    ),
    Adversary(
        layer="uncounted.py:LowFormula",
        kind="multiply-adds hidden",
        status="suspicious",
        said=r"the closed form says [\d,]+, 50% less than torch counts",
    ),
    *(
        Adversary(layer=f"uncounted.py:{layer}", kind="multiply-adds hidden", status="macs not ranked", said=said)
        for layer, said in (
            ("OwnOperator", "adversary.attend may do any amount of work"),
            ("FourierMixing", r"they leave out aten\._fft\w+, worth some [\d,]+"),
            ("ElementwiseProducts", r"they leave out elementwise products, worth some [\d,]+"),
        )
    ),
    Adversary(
        layer="memory.py:Shape",
        kind="an answer used again",
        status="rejected",
        said=r"another answer than the layer",
    ),
    Adversary(
        layer="memory.py:Address",
        kind="an answer used again",
        status="rejected",
        said=r"another answer than the layer",
    ),
    Adversary(
        layer="memory.py:SampledElements",
        kind="an answer used again",
        status="ok",
        said=r"[1-5] of \d+, float64 beside",
    ),
    Adversary(
        layer="put_off.py:InThread",
        kind="work put off",
        status="rejected",
        said=r"another answer than the layer",
    ),
    Adversary(
        layer="put_off.py:InALazyTensor",  # the outer residual looks at it, within the timed part
        kind="work put off",
        status="ok",
        said=r"[1-5] of \d+, float64 beside",
    ),
    Adversary(
        layer="surroundings.py:SpinsAfterItsCall",
        kind="others made slower",
        status="rejected",
        said=r"keeps \d\.\d cores busy while nothing is called",
    ),
    Adversary(
        layer="surroundings.py:SpinsForAWhile",
        kind="others made slower",
        status="rejected",
        said=r"keeps \d\.\d cores busy in others' turns",
    ),
    Adversary(
        layer="when_timed.py:InferenceMode",
        kind="less work when it counts",
        status="rejected",
        said=r"another answer than the layer",
    ),
    Adversary(
        layer="when_timed.py:Stack",
        kind="less work when it counts",
        status="rejected",
        said=r"another answer than the layer",
    ),
    Adversary(
        layer="when_timed.py:Environment",
        kind="less work when it counts",
        status="rejected",
        said=r"another answer than the layer",
    ),
    Adversary(
        layer="when_timed.py:NthCall",
        kind="less work when it counts",
        status="rejected",
        said=r"another answer than the layer",
    ),
    Adversary(
        layer="precision.py:HalfInside",
        kind="less precision than said",
        status="rejected",
        said=r"agrees with float64 to [123] digits only",
    ),
    Adversary(
        layer="precision.py:HalfWhenTimed",
        kind="less precision than said",
        status="rejected",
        said=r"to [123] digits only: less precise inside",
    ),
    Adversary(
        layer="sideways.py:WritesIntoInput",
        kind="others made slower",
        status="rejected",
        said=r"has changed its input",
    ),
    Adversary(
        layer="sideways.py:ChangesItsWeights",
        kind="less work when it counts",
        status="rejected",
        said=r"another answer|changed its weights",
    ),
)
