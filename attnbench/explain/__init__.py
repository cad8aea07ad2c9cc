"""Why one cell takes longer than another: which are asked for, a profile of each from a child, and that in words."""
