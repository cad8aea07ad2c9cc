"""Training as papers do it, of timm's ingredients, with checkpoints that it goes on from."""
