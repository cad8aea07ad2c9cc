"""A network under a head as it is trained on composites, and examined: what each head is given and makes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from attnbench.accuracy.composites.batches import CompositeBatch


class TrainedHead(nn.Module, ABC):
    """A network under the head of a dense task, with losses and scores.

    It is used for one examination at a time: ``examine`` on each batch, then ``scores``.
    """

    @abstractmethod
    def loss(self, batch: CompositeBatch) -> Tensor:
        """Return what is to be made small, on the device of the parameters."""

    @abstractmethod
    def examine(self, batch: CompositeBatch) -> None:
        """Take down what is said of a batch that was not trained on, in evaluation mode."""

    @abstractmethod
    def scores(self) -> Mapping[str, float]:
        """Return what was taken down, as fractions by the names of metrics."""

    @abstractmethod
    def blind(self) -> float:
        """Return the first score of who sees nothing: always the same said, the best of its sort."""
