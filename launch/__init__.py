"""What starts work; knows the console program, not the package."""
