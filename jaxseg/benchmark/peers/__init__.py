"""Networks as programs of other frameworks, to time against."""
