"""What can go wrong on the approvals floor; each docstring is the message that a person reads."""

from __future__ import annotations

from datetime import datetime, timedelta

from routekit_site.tenancy.errors import NotAllowed


class ApprovalError(Exception):
    """The approval could not be carried out."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").strip()


class NotCanonical(ApprovalError):
    """The value is not JSON that can be put in canonical form."""


class ManifestConflict(ApprovalError):
    """Two tools have the same name."""


class UnknownTool(ApprovalError):
    """There is no tool of that name."""


class BadConstraint(ApprovalError):
    """The constraints can't be used. `problems` are sentences, one for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(problems))


class BadLifting(ApprovalError):
    """Say in at most 500 characters why the tool may run again; the ledger keeps it."""


class ContainmentOver(ApprovalError):
    """This tool was given back already; nothing was changed."""


class NeedsTransaction(ApprovalError):
    """Gates move inside a transaction only: whoever calls this opens one."""


class NotPresentable(ApprovalError):
    """This call can't be shown to a reviewer, so it can't be approved."""


class NoSigningKey(ApprovalError):
    """This process has no key to sign decisions with. Only the web tier has one (ROUTEKIT_SIGNING_KEY)."""


class KeysDoNotMatch(NoSigningKey):
    """Nobody could verify this decision: ROUTEKIT_VERIFY_KEYS lacks the public half of ROUTEKIT_SIGNING_KEY."""


class BadGateRequest(ApprovalError):
    """The gate can't be opened: what it would show does not belong to the call."""


class UnknownGate(ApprovalError):
    """There is no such gate."""


class OwnRun(ApprovalError, NotAllowed):
    """You submitted this run, so somebody else has to decide."""


class StaleView(ApprovalError):
    """The page does not show the call as it stands now. Reload it, read it again and then decide."""


class BadBallot(ApprovalError):
    """The form is incomplete. Reload the page and send it again."""


class ReasonTooLong(BadBallot):
    """The reason is too long: at most 4,000 characters are taken."""


class SecretTyped(BadBallot):
    """This holds what looks like a live key or password. Take it out, and renew it if it was real."""


class AnswerMissing(BadBallot):
    """Write what the model should be told in the tool's place."""


class AnswerTooLong(BadBallot):
    """The answer is too long: at most 20,000 characters are taken."""


class BadEdit(ApprovalError):
    """The edited arguments can't be used. `field` names the argument that is wrong, or is empty."""

    def __init__(self, message: str, field: str = "") -> None:
        self.field = field
        super().__init__(message)


class NotWaiting(ApprovalError):
    """This call does not wait for a decision any more."""


class NothingMasked(ApprovalError):
    """There is no such masked value in this call. Reload the page and choose it again."""


class RevealStale(ApprovalError):
    """What is masked has changed since this call was opened. It is asked about anew in a moment: see the new one."""


class ReasonMissing(BadBallot):
    """Say why you need to see the value: it goes into the record, and the tenant's admins read it."""


class WordsMissing(BadBallot):
    """Write something first."""


class WordsTooLong(BadBallot):
    """That is too long: at most 4,000 characters are taken."""


class NothingAsked(ApprovalError):
    """There is no open question to answer here. Reload the page to see how it stands."""


class KeyReused(ApprovalError):
    """This form was already sent with another decision. Reload the page to see what it was."""


class GateMoved(ApprovalError):
    """Somebody else was faster. Reload the page to see how the call stands."""


class AlreadyVoted(ApprovalError):
    """You have approved this call already. It waits for the approval of somebody else."""


def _ago(elapsed: timedelta) -> str:
    seconds = max(0, int(elapsed.total_seconds()))
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return f"{seconds} s ago"


class AlreadyDecided(ApprovalError):
    """This call was decided already.

    `winner` is the display name of whoever decided, or empty where nobody did; `state` the gate's state; `at` when.
    """

    def __init__(self, *, winner: str, state: str, at: datetime, now: datetime) -> None:
        self.winner, self.state, self.at = winner, state, at
        by = f" by {winner}" if winner else ""
        super().__init__(f"This call was already {state} {_ago(now - at)}{by}.")


class Expired(ApprovalError):
    """This call has expired: nobody decided in time, so it counts as denied."""


class NothingToUndo(ApprovalError):
    """There is no decision to undo."""


class HoldOver(ApprovalError):
    """It is too late to undo this: the time for it is over."""


class NotApproved(ApprovalError):
    """This call is not approved, so it can't run."""


class Halted(ApprovalError):
    """The kill switch is on for this agent, so nothing of it can run. Its gates stay as they are."""


class StillHeld(NotApproved):
    """This approval can still be undone, so the call can't run yet."""


class Tampered(ApprovalError):
    """What is stored of this call is not what was shown when it was opened. Nobody can approve it; tell an operator."""


class BadRule(ApprovalError):
    """This approval can't be remembered as a rule."""


class RuleOver(ApprovalError):
    """The remembered rule was revoked, has expired or is used up."""


class RulePastRevoking(ApprovalError):
    """This rule was revoked already."""


class BadExpression(ApprovalError):
    """Write who has to approve like "reviewer and admin" or "2 reviewers or admin"."""


class BadAllowList(ApprovalError):
    """The allow-list can't be used. `problems` are sentences, one for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(problems))


class BadHalt(ApprovalError):
    """Say in at most 300 characters why the agents are stopped; everybody concerned reads it."""


class NotHalted(ApprovalError):
    """This was lifted already. Reload the page."""


class BadFilter(ApprovalError):
    """This filter can't be saved."""
