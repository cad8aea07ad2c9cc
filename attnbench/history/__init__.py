"""Runs over time: which figures of which cells changed, when, by how much, and how sure that is. Imports no torch.

``source`` finds the runs, ``trends`` makes a line of each figure of a cell on one machine, ``steps`` finds where a line
changed for good, ``statuses`` which cells started to fail, and ``account`` says which of that is a change. Figures of
different machines are never compared.
"""
