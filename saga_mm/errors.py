"""The one exception that a user is meant to read."""


class SagaError(Exception):
    """Something in the user's input is wrong. The message names the file or key and says what to do.

    Tools print the message alone, without a traceback, and exit with status 2.
    """
