"""Where the time of each layer goes beside the least that the machine allows: a Markdown table of a kept run.

    python tests/benchmarks/shares.py results/reference/cpu-runtimes-amd-epyc-1-core --res 512

``roofline_fraction`` is the run's; the parts are those of ``attnbench explain``, taken now, on the machine that this
runs on. Convolutions and kernels of attention multiply as products do. While they multiply, the layer is as near to the
machine as its share divided by their part of a call: what a share lacks is either that, or the other parts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import attnbench
from attnbench.explain import categories
from attnbench.explain.asking import Explained, explain
from attnbench.record import Record, Scope, Status

MULTIPLYING = (categories.PRODUCTS, categories.CONVOLUTIONS, categories.ATTENTION)
PARTS = {
    "multiplying": MULTIPLYING,
    "copies": (categories.COPIES,),
    "elementwise": (categories.ELEMENTWISE, categories.NORMS, categories.INDEXING),
    "other": (categories.VIEWS, categories.COMPILED, categories.OTHER, categories.PYTHON, categories.BETWEEN),
}


def layers(records: Sequence[Record], res: int) -> Iterator[Record]:
    """Return the rows of a run that are layers in torch, in float32, at a resolution."""
    for record in records:
        cell = record.cell
        asked = (cell.scope, cell.dtype, cell.runtime, cell.height)
        if record.status is Status.OK and asked == (Scope.LAYER, "float32", "torch", res):
            yield record


def line(each: Explained, share: float) -> str:
    """Return a row of the table."""
    name = f"| `{each.record.cell.name}` | {share:.2f} |"
    if each.profile is None:
        return f"{name} {each.failure} |"
    spent = categories.seconds(each.profile)
    parts = {name: sum(spent.get(one, 0.0) for one in some) / each.profile.total_s for name, some in PARTS.items()}
    while_multiplying = share / parts["multiplying"]
    heaviest = max((one for one in each.profile.operators if categories.category(one.name) not in MULTIPLYING),
                   key=lambda one: one.self_s)  # fmt: skip
    return " ".join([
        name,
        *(f"{part:.0%} |" for part in parts.values()),
        f"{while_multiplying:.2f} | `{heaviest.name}` {heaviest.self_s / each.profile.total_s:.0%} |",
    ])  # fmt: skip


def main() -> None:
    """Print the table of a run."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path)
    options.add_argument("--res", type=int, default=512)
    asked = options.parse_args()
    run = attnbench.load(asked.run)
    shares = run.frame().set_index("cell_key")["roofline_fraction"]
    found = sorted(layers(run.records, asked.res), key=lambda record: -shares[record.cell.key])
    sys.stdout.write(f"| layer | share | {' | '.join(PARTS)} | share while multiplying | heaviest besides |\n")
    sys.stdout.write(f"|---|---{'|---' * len(PARTS)}|---|---|\n")
    for each in explain(asked.run, found):
        sys.stdout.write(f"{line(each, shares[each.record.cell.key])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
