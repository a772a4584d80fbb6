"""What paygo tells of itself to Prometheus, read from the database at each scrape."""
