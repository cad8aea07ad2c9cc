"""What was measured and what was asked for, on disk. No torch."""

from attnbench.store.records import RECORDS, Store, TornRecordWarning, read

__all__ = ["RECORDS", "Store", "TornRecordWarning", "read"]
