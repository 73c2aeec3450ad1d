"""Text from data, made safe for a terminal."""


def printable(text: str, keep: str = "") -> str:
    r"""A text with nothing in it that a terminal would obey: such characters become \x1b and the like.

    Args:
        text: a word, a type's name or a message that may hold them.
        keep: characters to leave as they are, such as a line break.
    """
    return "".join(c if c.isprintable() or c in keep else f"\\x{ord(c):02x}" for c in text)
