"""The ledger: balanced double entries of what was invoiced, credited, paid and written off."""
