"""Checkpoints of a network and its head, evaluated on ADE20K and COCO in their own layouts."""
