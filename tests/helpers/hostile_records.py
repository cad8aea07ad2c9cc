"""Records in which every text that a plugin can choose is meant to break out of a page."""

from __future__ import annotations

from attnbench.record import Cell, Record, Status

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "<!--",
    "]]>",
    "{{ 7 * 7 }}{% raw %}",
    "\u2028\u2029\x00\x1b[31m",
    "\u202egnp.exe",
    "__proto__",
    "constructor",
    "javascript:alert(1)",
    "a&amp;b&lt;",
    "\ud800",
)


def of_strangers() -> list[Record]:
    """Return records in which every text that a plugin can choose is hostile."""
    found = []
    for place, text in enumerate(HOSTILE):
        for side in (224, 448):
            metrics = {
                "latency_median_s": 0.01 * (place + 1),
                "params": 5,
                "adaptation": text,
                "is_baseline": not place,
            }
            cell = Cell(mechanism=text, options={"name": text}, distribution=text, height=side, width=side)
            environment = {"environment_id": HOSTILE[0], "hardware": HOSTILE[1], "cpu": {text: text}}
            failed = side == 448 and place % 2
            found.append(
                Record(
                    cell=cell,
                    status=Status.FAILED if failed else Status.OK,
                    reason=text if failed else "",
                    metrics={} if failed else metrics,
                    run_id=HOSTILE[2],
                    environment=environment,
                )
            )
    return found
