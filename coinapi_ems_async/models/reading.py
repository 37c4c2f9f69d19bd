"""Reading answers in two tiers: strict and fast first, then slow and forgiving.

The first tier is a msgspec decoder into the struct; the wire's usual shape never gets further. Whatever it
refuses is read again as plain JSON, field by field: what a field's reader cannot make sense of goes into
`unread`, under the wire's name, and the rest is still an answer. Only without JSON, or without the few fields
a struct cannot do without, is the body `Undecodable`; any other exception ends there as well.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import msgspec
from msgspec.structs import force_setattr

from .numbers import check_number, decimal_of_literal, read_number

if TYPE_CHECKING:
    # The decoder makes a JSON number a checked Decimal (`float_hook`) or an int; `settle` leaves only Decimal.
    # msgspec itself is told Any: for Decimal it would also take strings such as "NaN" or "1_000".
    Number = Decimal | None
else:
    Number = Any

__all__ = [
    "Answer",
    "AnswerReader",
    "Number",
    "NumberText",
    "Undecodable",
    "flag",
    "flat",
    "number",
    "open_enum",
    "rows",
    "text",
]

FieldReader = Callable[[Any], Any]


class Undecodable(ValueError):
    """The body is not JSON, or lacks what the struct cannot do without."""


class NumberText(str):
    """A JSON number as its literal text: nothing is lost and nothing can overflow while parsing."""

    __slots__ = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the service sends; fields it does not declare are ignored, null means absent.

    `unread` holds what could not be understood, under the wire's field names; empty in the usual case.
    """

    # Renamed so that no field of the wire can fill it.
    unread: dict[str, Any] = msgspec.field(default_factory=dict, name="(unread)")

    numbers: ClassVar[tuple[str, ...]] = ()
    """Fields that hold numbers: the strict tier checks them after decoding."""
    readers: ClassVar[Mapping[str, FieldReader]] = {}
    """Field name -> reader of the slow tier, which raises ValueError or TypeError at what it cannot read."""
    required: ClassVar[tuple[str, ...]] = ()
    """Fields without which the slow tier gives up."""
    aliases: ClassVar[Mapping[str, str]] = {}
    """Other spellings on the wire -> field name; read by the slow tier."""
    hidden: ClassVar[frozenset[str]] = frozenset()
    """Fields whose value must not be shown."""

    def settle(self) -> bool:
        """Turn what the strict tier left in the number fields into Decimals.

        Returns whether the answer is complete whatever `aliases` the body may hold.
        Raises ValueError: if a number field holds something else, or a number outside the limits.
        """
        for name in self.numbers:
            value = getattr(self, name)
            if type(value) is not Decimal and value is not None:
                force_setattr(self, name, check_number(value))
        return not self.aliases

    @classmethod
    def read(cls, data: object) -> Self:
        """Build one from plain JSON data, field by field.

        Raises ValueError: if `data` is no object or lacks a required field.
        """
        if not isinstance(data, dict):
            raise ValueError(f"expected an object, got {_kind_of(data)}")
        names = {field.encode_name: field.name for field in msgspec.structs.fields(cls)} | dict(cls.aliases)
        values: dict[str, Any] = {}
        unread: dict[str, Any] = {}
        for key, name in names.items():  # the fields' own names before other spellings
            value = data.get(key)
            if value is None or name not in cls.readers or name in values:
                continue
            try:
                values[name] = cls.readers[name](value)
            except (ValueError, TypeError, RecursionError):
                unread[key] = plain(value)
        missing = [name for name in cls.required if values.get(name) in (None, "")]
        if missing:
            raise ValueError(f"{', '.join(missing)} missing or unreadable")
        return cls(**values, unread=unread)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> Iterable[tuple[str, Any]]:  # type: ignore[override]  # msgspec types it narrower
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None or (name == "unread" and not value):
                continue
            if name == "unread":
                value = sorted(value)  # the names only: nobody knows what the values are, secrets perhaps
            yield name, "<hidden>" if name in self.hidden else value


T = TypeVar("T", bound=Answer)


class AnswerReader(Generic[T]):
    """Reads bodies that hold one `cls`, or with `many` an array of them.

    `strict=False` leaves out the first tier, for structs whose usual wire shape needs the second anyway.
    """

    def __init__(self, cls: type[T], *, strict: bool = True) -> None:
        self._cls = cls
        self._strict = strict
        self._marks = tuple(f'"{alias}"'.encode() for alias in cls.aliases)
        self._one = msgspec.json.Decoder(cls, float_hook=decimal_of_literal)
        self._many: msgspec.json.Decoder[list[T]] = msgspec.json.Decoder(
            list[cls],  # type: ignore[valid-type]  # a class known only at run time
            float_hook=decimal_of_literal,
        )

    def one(self, body: bytes) -> T:
        """Return the struct in `body`. Raises Undecodable: if neither tier can read it."""
        try:
            if self._strict:
                value = self._one.decode(body)
                if value.settle() or not self._aliased(body):
                    return value
        except Exception:  # noqa: S110  # whatever the first tier refuses is the second one's business
            pass
        one: T = self._slowly(body, self._cls.read)
        return one

    def many(self, body: bytes) -> list[T]:
        """Return the structs in `body`. Raises Undecodable: if it is no array or one row cannot be read."""
        try:
            if self._strict:
                values = self._many.decode(body)
                complete = [value.settle() for value in values]
                if all(complete) or not self._aliased(body):
                    return values
        except Exception:  # noqa: S110  # see `one`
            pass
        many: list[T] = self._slowly(body, rows(self._cls.read))
        return many

    def _aliased(self, body: bytes) -> bool:
        return any(mark in body for mark in self._marks)

    def _slowly(self, body: bytes, read: Callable[[Any], Any]) -> Any:
        try:
            return read(plain_json(body))
        except Exception as error:  # RecursionError and MemoryError included, on purpose
            raise Undecodable(_why(error) if body.strip() else "it is empty") from None


def _why(error: Exception) -> str:
    """Why a body cannot be read, in plain words."""
    if isinstance(error, json.JSONDecodeError):
        said = error.msg.removesuffix(" at")
        return f"it is not JSON: {said[:1].lower()}{said[1:]} at character {error.pos + 1}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) if isinstance(error, ValueError) else "it is not of the expected shape"


def _kind_of(data: object) -> str:
    """What JSON calls it."""
    kinds = ((NumberText, "a number"), (str, "a text"), (bool, "a truth value"), (list, "an array"))
    if data is None:
        return "null"
    return next((name for kind, name in kinds if isinstance(data, kind)), "an object")


def plain_json(body: bytes) -> Any:
    """Return `body` as plain JSON data, its numbers as `NumberText`.

    `NaN` and `Infinity` are not JSON, yet some writers put them where a number belongs: they come back as
    `NumberText` that no number reader accepts, so that they spoil their own field only.
    Raises ValueError or RecursionError: if it is not JSON.
    """
    return json.loads(
        body.decode("utf-8-sig", "replace"),
        parse_float=NumberText,
        parse_int=NumberText,
        parse_constant=NumberText,
    )


def plain(value: Any) -> Any:
    """Return JSON data with its number literals as ordinary text, fit to be shown and written again.

    What is nested too deeply for that is left out.
    """
    try:
        return _plain(value)
    except RecursionError:
        return "(nested too deeply)"


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _plain(item) for key, item in value.items()}
    return value


def _clean(value: str) -> str:
    """Return ordinary text: half a surrogate pair (`"\\ud800"` is valid JSON) would break every later write."""
    return str(value).encode("utf-8", "replace").decode()


def text(value: Any) -> str:
    """Read text; a number is taken as its literal (ids arrive unquoted at times, protocol C-5)."""
    if not isinstance(value, str):
        raise ValueError("not text")
    return _clean(value)


def number(value: Any) -> Decimal:
    """Read a number, quoted or not (protocol C-34)."""
    if not isinstance(value, str):
        raise ValueError("not a number")
    return read_number(value)


def flag(value: Any) -> bool:
    """Read a truth value."""
    if not isinstance(value, bool):
        raise ValueError("not a truth value")
    return value


def open_enum(cls: type[Any]) -> FieldReader:
    """Return a reader of the open enumeration `cls`; unknown texts are kept."""

    def read(value: Any) -> Any:
        """Read one member."""
        if not isinstance(value, str) or isinstance(value, NumberText):
            raise ValueError("not text")
        return cls(_clean(value))

    return read


def rows(reader: FieldReader) -> FieldReader:
    """Return a reader of an array whose items `reader` reads."""

    def read(value: Any) -> list[Any]:
        """Read one array."""
        if not isinstance(value, list):
            raise ValueError(f"expected an array, got {_kind_of(value)}")
        return [reader(item) for item in value]

    return read


def flat(reader: FieldReader) -> FieldReader:
    """Return a reader of a list that may be nested, a single value, or a JSON array inside a string (C-7).

    An empty text is an empty list. A list with some nulls is refused: lists that belong together pair up by
    position, and a gap would shift what follows it.
    """

    def unwrap(value: Any) -> list[Any]:
        """Read whatever stands there as one list without levels."""
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = plain_json(value.encode("utf-8", "replace"))
        if not isinstance(value, list):
            return [reader(value)]
        parts = [part for part in value if part is not None]
        if parts and len(parts) < len(value):
            raise ValueError("a list with gaps")
        return [item for part in parts for item in unwrap(part)]

    return lambda value: [] if isinstance(value, str) and not value.strip() else unwrap(value)
