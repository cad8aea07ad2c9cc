"""What scores on other images would have been: 95 % intervals of figures that are no mean over images.

Mean IoU and AP are worked out of all images together, so that no formula has their interval. It is the bootstrap's
(Efron, Annals of Statistics 7, 1979): images are drawn, with replacement, from those that there are, the score is
worked out of each draw, and the interval has the middle 95 % of those scores. It says how far the images decide a
score, not what another training would have come to.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

FEWEST = 10
"""Images without which there is no interval: of a handful, draws know nothing of what is not among them."""
_ENDS = (0.025, 0.975)


def draws(images: int, times: int) -> Int[np.ndarray, "times images"]:
    """Return how often each image is in each draw of as many: the same whenever it is asked.

    Example:
        >>> draws(5, 2).sum(axis=1)
        array([5, 5])
    """
    return np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=times)


def ends(metric: str, scores: Iterable[float]) -> dict[str, float]:
    """Return the ends of a metric's interval, by their names, from the scores of draws; none of no draws.

    Example:
        >>> ends("ade20k_miou", [0.4, 0.5, 0.6])
        {'ade20k_miou_ci_low': 0.405, 'ade20k_miou_ci_high': 0.595}
    """
    found = list(scores)
    if not found:
        return {}
    low, high = (round(float(end), 12) for end in np.quantile(found, _ENDS))
    return {f"{metric}_ci_low": low, f"{metric}_ci_high": high}
