"""What the library promises, package by package."""
