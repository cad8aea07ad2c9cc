"""Layers that keep from one call what they should work out in the next."""

from honest import Attention


class KeepsEveryMap(Attention):
    """Lets go of nothing."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.kept = []

    def forward(self, x):
        y = super().forward(x)
        self.kept.append(y)
        return y


class SampledElements(Attention):
    """Knows its input by a few elements, and answers what it answered then."""

    def __init__(self, dim, num_heads=8):
        super().__init__(dim, num_heads)
        self.answers = {}

    def answer(self, x):
        return super().forward(x)

    def recognised(self, x):
        return tuple(x.flatten()[:: max(1, x.numel() // 8)].tolist())

    def forward(self, x):
        key = self.recognised(x)
        if key not in self.answers:
            self.answers = {key: self.answer(x)}
        return self.answers[key]


class Address(SampledElements):
    def recognised(self, x):
        return x.data_ptr()


class Shape(SampledElements):
    def recognised(self, x):
        return x.shape
