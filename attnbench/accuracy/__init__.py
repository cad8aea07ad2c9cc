"""How well a mechanism learns and a network classifies, and the images for it."""
