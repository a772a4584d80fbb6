"""Pages for everybody: help, accessibility, privacy, cookies, and what each problem means."""
