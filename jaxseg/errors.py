"""The one exception that a person, not a programmer, should read."""


class UserError(Exception):
    """Bad input: one line that says what was found, what was expected and what to do.

    The console program prints the message without a traceback and exits with 2.
    """
