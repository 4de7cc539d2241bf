"""IO managers accept receipts of what was committed already, or data, which they commit by the one write path; they load by manifest."""
