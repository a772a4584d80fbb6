"""What a draft tariff would have come to: real past usage under it, beside what was charged."""
