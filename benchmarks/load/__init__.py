"""What the ingest benchmark is made of: material, servers, clients, and what they cost."""
