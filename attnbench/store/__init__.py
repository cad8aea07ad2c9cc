"""What was measured and what was asked for, on disk. No torch."""

from attnbench.store.records import RECORDS, LostRecordsWarning, Store, TornRecordWarning, read

__all__ = ["RECORDS", "LostRecordsWarning", "Store", "TornRecordWarning", "read"]
