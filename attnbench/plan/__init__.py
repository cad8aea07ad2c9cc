"""What was asked, read and crossed into cells. No torch."""
