"""`poolwise round`: close the open round and ask for the next batch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poolwise.cli.arguments import PoolDir, Setting
from poolwise.cli.audit_options import AuditShare, NoAudit, audit_share, tell_of_audit
from poolwise.cli.output import echo_csv, echo_json, say, show_progress
from poolwise.cli.query import DEFAULT_STRATEGY
from poolwise.pool import Pool
from poolwise.registry import STRATEGIES, parse_settings
from poolwise.reserve import for_annotators


def round_(
    pool: PoolDir,
    labels: Annotated[Path | None, typer.Option(help="Labels of the last batch, as for `import`.")] = None,
    strategy: Annotated[str, typer.Option(help="A name from `poolwise strategies`.")] = DEFAULT_STRATEGY,
    batch_size: Annotated[int, typer.Option(min=1, help="Items to ask for.")] = 100,
    setting: Setting = None,
    audit: AuditShare = None,
    no_audit: NoAudit = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of CSV.")] = False,
) -> None:
    """Take in labels, retrain, record how good the model is, and ask for the next batch.

    Example:  poolwise round birds.pool --labels labels.csv --batch-size 50 > next.csv
    """
    opened = Pool.open(pool)
    options = parse_settings(STRATEGIES[strategy], setting or [])
    with show_progress():
        if labels is not None:
            opened.import_labels(labels)
        if opened.can_fit():
            opened.fit()
        share = audit_share(audit, no_audit)
        selection = opened.query(strategy, batch_size=batch_size, audit=share, **options)
    tell_of_audit(selection)
    say(opened.status().headline())
    if as_json:
        echo_json(selection.to_dict())
    else:
        echo_csv(for_annotators(selection.rows()))
