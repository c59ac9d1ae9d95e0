"""Options that every verb which asks for labels shares: the random audit slice."""

from __future__ import annotations

from typing import Annotated

import typer

from poolwise.cli.output import say
from poolwise.types import Selection

AuditShare = Annotated[
    float | None,
    typer.Option(
        "--audit",
        min=0.0,
        max=0.9,
        help="Share of each batch drawn at random to judge the model, such as 0.05; the pool remembers it.",
    ),
]
NoAudit = Annotated[bool, typer.Option("--no-audit", help="Draw no audit items from now on.")]


def audit_share(audit: float | None, no_audit: bool) -> float | None:
    """Join the two options: 0 turns auditing off, None keeps what the pool remembers."""
    return 0.0 if no_audit else audit


def tell_of_audit(selection: Selection) -> None:
    """Tell a person that some of the items are not the strategy's choice."""
    count = selection.notes.get("audit", 0)
    if count:
        say(
            f"{count} of the {len(selection)} items are a random audit slice, mixed in unmarked: they judge the model "
            "and are not trained on (--no-audit turns it off)"
        )
    if selection.notes.get("audit_reserve_opened"):
        say("the strategy needed the items kept for auditing; no more items are audited in this pool")
