"""What was measured and what was asked for, on disk. No torch."""

from attnbench.store.records import (
    RECORDS,
    LostRecordsWarning,
    PlacedRecord,
    Store,
    TornRecordWarning,
    placed,
    read,
)

__all__ = ["RECORDS", "LostRecordsWarning", "PlacedRecord", "Store", "TornRecordWarning", "placed", "read"]
