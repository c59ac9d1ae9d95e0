"""`poolwise query`: the next batch to label, recorded as asked."""

from __future__ import annotations

from typing import Annotated

import typer

from poolwise.cli.arguments import PoolDir
from poolwise.cli.audit_options import AuditShare, NoAudit, audit_share, tell_of_audit
from poolwise.cli.output import echo_csv, echo_json, say, show_progress
from poolwise.pool import Pool
from poolwise.registry import STRATEGIES, parse_settings
from poolwise.reserve import for_annotators

DEFAULT_STRATEGY = "auto"


def query(
    pool: PoolDir,
    strategy: Annotated[str, typer.Option(help="A name from `poolwise strategies`.")] = DEFAULT_STRATEGY,
    batch_size: Annotated[int, typer.Option(min=1, help="Items to ask for.")] = 100,
    setting: Annotated[list[str] | None, typer.Option("--set", metavar="OPTION=VALUE")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: the pool's seed and the batch number.")] = None,
    ood: Annotated[
        str | None,
        typer.Option(metavar="DETECTOR", help="Keep items back that this detector flags as of no class of interest."),
    ] = None,
    audit: AuditShare = None,
    no_audit: NoAudit = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say on stderr why these items.")] = False,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Ask for nothing; print again what still waits for a label.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of CSV.")] = False,
) -> None:
    """Choose the next batch to label, record it as asked, and print it.

    --ood takes a detector: answers, class_cosine, energy, knn, mahalanobis, max_logit, max_prob or
    relative_mahalanobis. Answers "not of interest" teach it which items are foreign.

    With an audit slice the CSV leaves out scores, so that it can be handed to annotators; --json marks its items.

    Example:  poolwise query birds.pool --strategy typiclust --batch-size 50 > batch.csv
    """
    opened = Pool.open(pool)
    if waiting:
        rows = opened.waiting()
        if as_json:
            echo_json({"batch": rows})
        else:
            echo_csv(for_annotators(rows))
        return
    options = parse_settings(STRATEGIES[strategy], setting or [])
    with show_progress():
        share = audit_share(audit, no_audit)
        selection = opened.query(strategy, batch_size=batch_size, seed=seed, audit=share, ood=ood, **options)
    tell_of_audit(selection)
    if explain:
        say(selection.explain())
    if as_json:
        echo_json(selection.to_dict())
    else:
        echo_csv(for_annotators(selection.rows()))
