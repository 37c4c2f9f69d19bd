"""How a command is declared: an async function, to which the options every command takes are added."""

import inspect
import logging
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ..errors import EMSError
from .context import AuthWay, Invocation, LoopChoice, NoteHandler, Options, TransportChoice
from .data import error_data
from .exits import Exit, Failure, exit_of_error, sentence
from .interrupts import Interrupts, sentence_of
from .output import unwritten

__all__ = ["COMMON", "LOCAL", "command", "execute"]

Body = Callable[..., Awaitable[Exit | None]]

_PANEL: Final = "Connection"
_COMMON: Final = "Everywhere"

_OPTIONS: Final[dict[str, Any]] = {
    "management_url": Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The Managed Cloud API: this, else $COINAPI_EMS_MANAGEMENT_URL, else production.",
            rich_help_panel=_PANEL,
        ),
    ],
    "self_hosted": Annotated[
        str | None,
        typer.Option(metavar="URL", help="One known EMS server, without Managed Cloud.", rich_help_panel=_PANEL),
    ],
    "api_key_file": Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File that holds the API key; else $COINAPI_API_KEY.", rich_help_panel=_PANEL
        ),
    ],
    "auth": Annotated[
        AuthWay | None, typer.Option(help="How the key is shown; header by default.", rich_help_panel=_PANEL)
    ],
    "certificate_file": Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Client certificate (PEM) for --auth certificate.", rich_help_panel=_PANEL
        ),
    ],
    "timeout": Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Time for each call: orders 30, reads 10, accounts 2 a try.",
            rich_help_panel=_PANEL,
        ),
    ],
    "transport": Annotated[
        TransportChoice | None,
        typer.Option(help="What carries requests to the sites; http1 by default.", rich_help_panel=_PANEL),
    ],
    "loop": Annotated[
        LoopChoice | None,
        typer.Option(help="Event loop; uvloop if it is installed.", rich_help_panel=_COMMON),
    ],
    "json": Annotated[
        bool | None,
        typer.Option("--json", help="Write JSON on stdout, errors included.", rich_help_panel=_COMMON),
    ],
    "debug": Annotated[bool | None, typer.Option("--debug", hidden=True)],
}
COMMON: Final = tuple(field.name for field in fields(Options))
"""The options of commands that call the service."""
LOCAL: Final = ("loop", "json", "debug")
"""The options of commands that bring their own service."""


def command(app: typer.Typer, name: str, options: tuple[str, ...] = COMMON) -> Callable[[Body], Body]:
    """Add an async function as a command; its first parameter is the Invocation, `options` are added.

    A parameter whose type is a dataclass stands for the dataclass's fields, each an option of its own. One of
    `options` may stand before the command or after it; the one after wins.
    """

    def add(body: Body) -> Body:
        """Add `body`, and leave it as it is."""

        def entry(context: typer.Context, **given: Any) -> None:
            """What typer calls, with all that was typed."""
            mine = Options(**{option: given.pop(option) for option in options})
            run = Invocation(mine.over(context.obj or Options()))
            arguments = _gathered(body, given)
            raise typer.Exit(execute(run, lambda: body(run, **arguments)))

        signature = with_options(body, options)
        entry.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it, typeshed has it not
        entry.__annotations__ = {}
        app.command(name, help=_paragraphs(body))(entry)
        return body

    return add


def _paragraphs(body: Body) -> str:
    """The docstring as help: each paragraph on one line, for the terminal to wrap."""
    return "\n\n".join(" ".join(part.split()) for part in (inspect.getdoc(body) or "").split("\n\n"))


def with_options(body: Callable[..., Any], options: tuple[str, ...]) -> inspect.Signature:
    """Return the body's signature with a typer context for its first parameter, and the options."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    added = [inspect.Parameter(name, keyword, default=None, annotation=_OPTIONS[name]) for name in options]
    return inspect.Signature([context, *_flat(body), *added])


def _own(body: Callable[..., Any]) -> list[inspect.Parameter]:
    """The body's parameters without the first."""
    return list(inspect.signature(body).parameters.values())[1:]


def _flat(body: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    for one in _own(body):
        if not is_dataclass(one.annotation):
            yield one.replace(kind=keyword)
            continue
        for field in fields(one.annotation):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            yield inspect.Parameter(field.name, keyword, default=default, annotation=field.type)


def _gathered(body: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """The body's arguments: what `_flat` took apart, together again."""
    rest = dict(given)
    made = {
        one.name: one.annotation(**{field.name: rest.pop(field.name) for field in fields(one.annotation)})
        for one in _own(body)
        if isinstance(one.annotation, type) and is_dataclass(one.annotation)
    }
    return rest | made


def execute(run: Invocation, body: Callable[[], Awaitable[Exit | None]]) -> Exit:
    """Run a command's body in an event loop; whatever it raises becomes one sentence and an exit status."""
    with _diagnostics(run), Interrupts(run) as interrupts:
        interrupts.status = status = _executed(run, interrupts, body)
        return status


def _executed(run: Invocation, interrupts: Interrupts, body: Callable[[], Awaitable[Exit | None]]) -> Exit:
    try:
        run.check()
        return _written(run, interrupts.run_body(body))
    except Failure as failure:
        return _failed(run, failure.sentence, failure.status)
    except EMSError as error:
        _trace(run)
        status = exit_of_error(error)
        run.out.fail(sentence(error), status, error_data(error))
        return status
    except (KeyboardInterrupt, typer.Abort):
        return _failed(run, sentence_of(run), Exit.INTERRUPTED) if run.ended is None else run.ended
    except Exception as error:  # the last line of defence: a traceback helps nobody at a terminal
        _trace(run)
        advice = run.pending or "run it again with --debug and report what it prints."
        said = f"internal error ({type(error).__name__}); {advice}"
        return _failed(run, said, Exit.INTERNAL)


def _written(run: Invocation, status: Exit | None) -> Exit:
    """The exit status of a body that came to its end; of one whose answer could not be written, not OK.

    That of an order has been told apart from standard output, and stands.
    """
    told = status is not None and run.ended is not None
    if not run.out.lost or told:
        return status or Exit.OK
    return _failed(run, unwritten(run.out.lost), status or Exit.INTERNAL)


def _failed(run: Invocation, said: str, status: Exit) -> Exit:
    run.out.fail(said, status)
    return status


def _trace(run: Invocation) -> None:
    if run.options.debug:
        run.out.trace(traceback.format_exc())


@contextmanager
def _diagnostics(run: Invocation) -> Iterator[None]:
    """Show the client's log and warnings as notes: warnings, or with --debug everything."""
    handler, level = NoteHandler(run.out), logging.DEBUG if run.options.debug else logging.WARNING
    loggers = [logging.getLogger(name) for name in ("coinapi_ems_async", "asyncio")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        # What asyncio has to say is for those who look for faults.
        logger.setLevel(level if run.options.debug or logger.name != "asyncio" else logging.CRITICAL)
        logger.propagate = False
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            if not run.options.debug:
                warnings.simplefilter("ignore")
            yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
