"""Networks as programs of torch, to time against."""
