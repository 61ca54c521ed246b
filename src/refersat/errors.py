"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """Something the user can put right: one line that says what is wrong and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """
