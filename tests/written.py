"""Numbers as the book writes them, in ordinary spaces and minus signs: what a test can be typed in."""

SPACES = str.maketrans({"\N{NO-BREAK SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " ", "\N{MINUS SIGN}": "-"})


def typed(text):
    """A text, or a table's row, in characters that a keyboard has."""
    return text.translate(SPACES) if isinstance(text, str) else [typed(cell) for cell in text]
