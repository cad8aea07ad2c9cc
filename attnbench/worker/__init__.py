"""The child that measures: a job in, events out."""
