"""From how far an output is influenced: effective receptive fields by gradients, in numbers and as a picture."""
