"""What papers print, beside what is measured: ledgers of claims that plugins bring, and their verdicts."""
