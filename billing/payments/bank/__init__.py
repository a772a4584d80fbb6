"""Bank statements and remittance advices, and finding out what each movement is."""
