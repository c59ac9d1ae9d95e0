"""What the audit items prove: accuracy now, labels saved, what more labels would bring, whether to stop."""

from poolwise.audit.estimate import audit
from poolwise.audit.record import Audit, CurvePoint, GroupShare, Rule

__all__ = ["Audit", "CurvePoint", "GroupShare", "Rule", "audit"]
