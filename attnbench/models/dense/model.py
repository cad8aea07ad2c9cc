"""From a task and the name of a network to a module that takes images and can be counted, timed and trained.

The module's work depends on the size of the images alone: it ends where the values of weights and targets decide what
is done. What each leaves out is said where it is made.

HAT-Net with the paper's grids and pools for dense tasks, at the default sizes, published (arXiv:2106.03180) and here:

              parameters, M       G MACs: published, here with attention products, here without
    variant   published   here    Semantic FPN           RetinaNet                 Mask R-CNN
    tiny      15.9        16.47   33.2   32.60   31.46   212   202.82   190.84    231   221.21   209.23
    small     29.5        29.50   49.6   45.35   43.53   286   256.76   237.82    303   275.34   256.40
    medium    46.7        46.70   74.7   67.35   64.03   405   351.70   317.89    424   370.28   336.47
    large     66.8        66.79   96.4   84.50   80.10   519   425.43   380.79    537   443.93   399.29

The parameters, here those under Semantic FPN, are the published ones but for tiny, which the paper has 0.6 M smaller
under every head: another network, and many fit. In place of depths 2, 2, 6, 3, for one, 3, 3, 5, 3 would.

The ablation of grids and pools under Mask R-CNN (table 6), of which 303 G for small is a part, is met to 0.2 % by all
six figures: images are padded to multiples of 128, a grid of 8 at stride 16, so that 800 x 1280 becomes 896 x 1280; all
products are counted, and norms too (``ops_elementwise``); a last pool that is not whole is dropped.
``--networks hat_net_small:pools=12/4/2/1:partial=dropped --task instance --pad 128`` is its first row.

    G1          G2          published   here
    8, 8, 8     12, 4, 2    338         338.3
    8, 8, 8     12, 6, 3    313         313.2
    8, 8, 8     16, 8, 4    303         302.5
    8, 8, 8     32, 16, 8   291         290.6
    16, 16, 8   16, 8, 4    309         308.7
    4, 4, 4     16, 8, 4    300         299.9

The same tables count other networks in four ways: with all products (Twins under the detectors), without any (Swin;
Twins under Semantic FPN), without those of a first stage that has one head (PVT, P2T), and as above; docs/figures.md
has them.

Of the other multiply-adds the published ones agree to 2 % nowhere but for tiny's Semantic FPN. The rest is not
explained:
    - It is not the heads': ResNets under them cost what is published, and Mask R-CNN 18.4 to 18.6 G more than
      RetinaNet, published 17 to 19.
    - It is not the counter's: for small at 512 x 512, where 6.1 G are missing beyond convolutions, MMCV counts 0.1 G
      beside them (norms, biases, pools); ptflops, thop, fvcore and MMEngine 0.2 G at most beside attention products.
    - It is no larger image: 896 x 1280 brings RetinaNet to 228, 290, 397 and 481 G, 832 x 1344 to 281 G for small, but
      to 467 G for large; 512 x 512 needs no padding, and 544 x 544 is too large for tiny, small and medium under
      Semantic FPN, and too small for large.
    - It grows faster than the image, which is 3.9 times as large under RetinaNet: beyond convolutions by 7.9, 8.2 and
      8.5 times for small, medium and large. The attention products are too few, counted once; counted twice, large
      still lacks 7.8 and 9.4 % of its totals.
    - It is not one cost per block: whatever the blocks of a stage cost more, the same in all variants or up to the
      square of the width, small and medium leave 513 G at most for large under RetinaNet, where 519 are published.
    - Grids and pools of other sizes, from 4 to 64 and from 1 to 32, come as near as 1.2 % for small, medium and large
      together, each stage with sizes of its own; those of the paper do not come within 2 %, with products counted
      once or twice, maps padded or not, keys projected before the pool or after. A fit is not an explanation.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from attnbench.models.dense import DEFAULT_CLASSES, DenseTask
from attnbench.models.dense.detection import RetinaNet
from attnbench.models.dense.features import Features
from attnbench.models.dense.instance import MaskRCNN
from attnbench.models.dense.segmentation import SemanticFPN


def build(
    task: DenseTask,
    network: str,
    *,
    height: int,
    width: int,
    classes: int | None = None,
    **options: Any,  # noqa: ANN401
) -> nn.Module:
    """Build a network under a task's head, with random weights, on the default device; nothing is downloaded.

    Args:
        task: what is predicted.
        network: name under which timm knows the network.
        height: pixels down of the images.
        width: pixels across.
        classes: classes without the background, the usual data set's if None.
        options: the network's own, as for ``timm.create_model``.

    Returns:
        A module that takes images (B, 3, height, width) and returns a tensor or a tuple of them, every one of which
        depends on the images and on parameters.

    Raises:
        ValueError: the network gives no map at one of the strides that heads need.
        RuntimeError: timm does not know the name, or gives no maps of the network.
    """
    body = Features(network, height=height, width=width, **options)
    count = DEFAULT_CLASSES[task] if classes is None else classes
    if task is DenseTask.SEGMENTATION:
        return SemanticFPN(body, count)
    if task is DenseTask.DETECTION:
        return RetinaNet(body, count)
    return MaskRCNN(body, count, height=height, width=width)
