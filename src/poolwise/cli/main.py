"""The command line: one verb per file; each parses, calls one function and prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import poolwise
from poolwise.cli.add import add
from poolwise.cli.audit import audit
from poolwise.cli.auto import auto_app
from poolwise.cli.bench import bench_app
from poolwise.cli.demo import demo
from poolwise.cli.doctor import doctor
from poolwise.cli.embed import embed
from poolwise.cli.export import export
from poolwise.cli.import_ import import_labels
from poolwise.cli.init import init
from poolwise.cli.query import query
from poolwise.cli.release import release
from poolwise.cli.report import report
from poolwise.cli.round import round_
from poolwise.cli.run import run
from poolwise.cli.sample import sample
from poolwise.cli.select import select
from poolwise.cli.status import status
from poolwise.cli.strategies import strategies
from poolwise.errors import PoolwiseError
from poolwise.store.files import store_error

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for any wrong command line."""


KEPT = "; what was finished is saved, and the same command continues from there"


class Verbs(TyperGroup):
    """All verbs; being stopped and losing the reader of the output end a command quietly."""

    def invoke(self, ctx: Any) -> Any:
        """Run one verb; here because typer itself turns these two into silent failures."""
        try:
            answer = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            saved = "" if ctx.invoked_subcommand == "select" else KEPT  # it writes at its end only
            print(f"stopped{saved}", file=sys.stderr)
            raise typer.Exit(130) from None
        except BrokenPipeError:  # `poolwise ... | head` closes our output early, which is no error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        return answer


app = typer.Typer(
    name="poolwise",
    cls=Verbs,
    help="Choose which items of a large unlabeled pool to label next, and prove that it paid.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

VERBS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "init": init,
    "add": add,
    "embed": embed,
    "sample": sample,
    "select": select,
    "query": query,
    "import": import_labels,
    "round": round_,
    "run": run,
    "release": release,
    "report": report,
    "export": export,
    "status": status,
    "audit": audit,
    "strategies": strategies,
    "doctor": doctor,
}
for _name, _verb in VERBS.items():
    app.command(_name)(_verb)
app.add_typer(bench_app, name="bench")
app.add_typer(auto_app, name="auto")


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Choose which items of a large unlabeled pool to label next, and prove that it paid."""
    if version:
        print(f"poolwise {poolwise.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; an error that a user can mend becomes one line and exit code 1 (2: wrong usage)."""
    try:
        code = app(standalone_mode=False)
    except UsageError as error:
        code = tell_usage(error)
    except PoolwiseError as error:
        code = tell(error)
    except OSError as error:
        code = tell(store_error(Path(error.filename), error) if isinstance(error.filename, str) else error)
    if code:
        sys.exit(code)


def tell(error: Exception) -> int:
    """Print an error as one line."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


def tell_usage(error: Any) -> int:
    """Print what is wrong with a command line and where its help is; without any words print the help itself."""
    context = error.ctx
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), end="")  # empty where building the error has printed the help already
        return 0
    command = "poolwise" if context is None else context.command_path
    message = " ".join(error.format_message().split())
    print(f"error: {message.rstrip('.')}. See `{command} --help`.", file=sys.stderr)
    return 2
