"""A Ray cluster of made-up machines on this one, beside a head that does no work."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """A cluster that is up."""

    address: str
    nodes: list[Any]
    cluster: Any

    def lose(self, number: int) -> None:
        """End a machine as a power cut does."""
        self.cluster.remove_node(self.nodes[number], allow_graceful=False)


def why_not() -> str:
    """Return why there can be no cluster here; empty if there can."""
    return "" if find_spec("ray") else "ray is not installed: pip install 'attnbench[ray]'"


@contextlib.contextmanager
def ray_cluster(*kinds: str) -> Iterator[RayCluster]:
    """Keep a cluster with a machine for each of some resources, beside a head, for as long as the block lasts."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            nodes = [cluster.add_node(num_cpus=1, resources={kind: 1}, wait=False) for kind in kinds]
            cluster.wait_for_nodes()
            yield RayCluster(address=cluster.address, nodes=nodes, cluster=cluster)
        finally:
            cluster.shutdown()
