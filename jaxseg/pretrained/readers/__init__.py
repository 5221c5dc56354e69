"""Readers of foreign checkpoint files; none of them trusts what it reads."""
