"""What is remembered: the only place where SQL is written."""
