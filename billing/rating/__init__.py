"""Rating: readings and agreements into charges with their working. Pure, all of it."""
