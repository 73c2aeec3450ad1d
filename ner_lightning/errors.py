"""The one exception that means "the user can mend this": shown in one to three lines, exit code 2."""


class UserError(Exception):
    """Something the user wrote, named or lacks; the message says what, where, and what to do.

    The command line prints the message alone and exits with code 2. Anything else that is raised
    counts as a bug of ours and keeps its traceback.
    """
