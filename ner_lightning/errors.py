"""The exceptions that are not bugs: mistakes that a user can fix, and signals to stop."""


class UserError(Exception):
    """Something the user wrote, named or lacks; the message says what, where, and what to do.

    The command line prints the message alone and exits with code 2. Anything else that is raised
    counts as a bug of ours and keeps its traceback.
    """


class Interrupted(BaseException):
    """A signal asked to stop, and everything was saved.

    Args:
        signal: its number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal
