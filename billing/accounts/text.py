"""Text that people type, and what it may not hide: line breaks, bidirectional controls, invisible characters.

A name with such a character looks like another one, turns a sentence around it upside down, or breaks the subject of an
e-mail. `Name`, `Lines` and `Email` are the fields of models, `PlainText` and `PlainEmail` those of forms; the API has
`Text` (billing/api/fields.py). All of them ask `find_hidden`.
"""

import re
import unicodedata
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models

# Controls, format characters (bidirectional ones among them), line and paragraph separators, unpaired surrogates,
# private use and unassigned: Unicode's general categories.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"})
# Letters, marks and symbols that nevertheless show nothing: what Unicode calls default ignorable, and the blank of
# Braille. Variation selectors are among them.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
_JOINERS = "\u200c\u200d"
_EMOJI_STYLE = "\ufe0f"
# Scripts that are written with joiners between letters, by the first word of a letter's name in Unicode.
_JOINED_SCRIPTS = frozenset(
    {
        "ARABIC", "SYRIAC", "MONGOLIAN", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL", "TELUGU",
        "KANNADA", "MALAYALAM", "SINHALA", "KHMER", "MYANMAR",
    }
)  # fmt: skip
_BREAKS = "\r\n"


def find_hidden(text: str, *, lines: bool = False) -> str:
    """The first character of a text that must not be in it, empty when there is none. `lines`: it may have several.

    A joiner is good between letters of a script that needs it, and the selector of emoji style after a symbol.
    """
    if text.isascii() and text.isprintable():
        return ""
    for at, character in enumerate(text):
        if lines and character in _BREAKS:
            continue
        is_hidden = unicodedata.category(character) in _HIDDEN_CATEGORIES or _BLANK.match(character)
        if is_hidden and not _is_needed(text, at):
            return character
    return ""


def without_hidden(text: str) -> str:
    """A text on one line and without what `find_hidden` finds: for where text from elsewhere meets a mail's subject."""
    line = " ".join(text.split())
    return "".join(each for at, each in enumerate(line) if not find_hidden(each) or _is_needed(line, at))


def validate_name(value: str) -> None:
    """Refuse text of one line that hides something."""
    _refuse(value, lines=False)


def validate_lines(value: str) -> None:
    """Refuse text of one or more lines that hides something."""
    _refuse(value, lines=True)


class _AsPlain:
    """To the database, and so to migrations, these are the plain fields."""

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()  # type: ignore[misc]
        return name, self.plain, args, kwargs  # type: ignore[attr-defined]


class Name(_AsPlain, models.CharField):
    """A name, or any other text of one line that people read."""

    plain = "django.db.models.CharField"
    default_validators = [validate_name]


class Lines(_AsPlain, models.TextField):
    """Text of several lines, as of an address."""

    plain = "django.db.models.TextField"
    default_validators = [validate_lines]


class Email(_AsPlain, models.EmailField):
    """An e-mail address. Django lets hidden characters into its domain."""

    plain = "django.db.models.EmailField"
    default_validators = [*models.EmailField.default_validators, validate_name]


class PlainText(forms.CharField):
    """A form's text: of one line, or of several where its widget has them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.validators.append(validate_lines if isinstance(self.widget, forms.Textarea) else validate_name)


class PlainEmail(forms.EmailField):
    """A form's e-mail address."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators.append(validate_name)


def _is_needed(text: str, at: int) -> bool:
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if text[at] in _JOINERS:
        return _is_joined(before) and _is_joined(after)
    return text[at] == _EMOJI_STYLE and bool(before) and unicodedata.category(before) == "So"


def _is_joined(character: str) -> bool:
    return bool(character) and unicodedata.name(character, "").partition(" ")[0] in _JOINED_SCRIPTS


def _refuse(value: str, *, lines: bool) -> None:
    if found := find_hidden(value, lines=lines):
        what = "line breaks" if found in "\r\n\u2028\u2029" else f"the invisible character U+{ord(found):04X}"
        raise ValidationError("Remove %(what)s.", params={"what": what}, code="hidden_character")


def said_of(row: models.Model, field: str) -> str:
    """What a row that another one names is called, if it has been read with it, else its id. No query."""
    known = row._state.fields_cache.get(field)
    return str(known) if known is not None else f"#{getattr(row, f'{field}_id')}"
