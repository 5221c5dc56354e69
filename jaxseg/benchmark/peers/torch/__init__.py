"""Networks as programs of torch."""
