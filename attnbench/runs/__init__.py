"""From cells to records: sessions, groups, the job that a worker is given. No torch."""
