"""What a cell's modules are built of: subjects, the backbone, networks, dense heads, checkpoints."""
