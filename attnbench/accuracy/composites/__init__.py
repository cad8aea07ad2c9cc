"""Scenes made of garments on photographs, with exact masks and boxes: what the heads of dense tasks are trained on."""
