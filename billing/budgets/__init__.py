"""What an account means to spend, and a warning before it has."""
