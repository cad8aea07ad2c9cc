"""Two runs, or two revisions in one run, compared cell by cell: verdicts from intervals, exact figures exactly."""
