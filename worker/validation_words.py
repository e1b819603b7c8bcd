"""Words for the mistakes of a value, whether an option or a row of a spreadsheet holds it."""

from typing import Any


def in_words(error: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """The mistake of a value, reworded where pydantic's text is for programmers."""
    limits = error.get("ctx", {})
    match error["type"]:
        case "string_too_short":
            return "is empty"
        case "string_too_long":
            return f"is longer than {limits['max_length']} characters"
        case "greater_than_equal":
            return f"is less than {limits['ge']:,}"
        case "less_than_equal":
            return f"is more than {limits['le']:,}"
    return str(error["msg"]).removeprefix("Value error, ")
