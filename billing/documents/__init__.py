"""Documents made from a frozen invoice: PDF, CSV, UBL, FOCUS and journal; bytes, no I/O."""
