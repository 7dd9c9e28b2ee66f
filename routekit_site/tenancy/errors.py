"""What can go wrong on the ground floor."""

from __future__ import annotations


class TenancyError(Exception):
    """Something about tenants or people is not as it should be."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").strip()


class NotVisible(TenancyError):
    """There is nothing here that you can see."""


class NotAllowed(TenancyError):
    """Your role in this tenant does not allow this. Ask an admin of the tenant."""


class LastAdmin(TenancyError):
    """Nobody else administers this tenant. Make somebody else an admin first."""


class AlreadyMember(TenancyError):
    """You belong to this tenant already. One of its admins can change your role."""


class InvitationOver(NotVisible):
    """This invitation is not good any more: it was used or withdrawn, or its time is over. Ask for a new one."""


class ReauthenticationNeeded(TenancyError):
    """Confirm that it is you before you do this."""


class TooFast(TenancyError):
    """That came too often in a short time. Nothing was done: wait a moment, then send it again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"That came too often in a short time. Nothing was done: wait {seconds} s, then send it again."
        )
        self.seconds = seconds


class DecryptionFailed(TenancyError):
    """A stored value can't be decrypted: its key is missing from ROUTEKIT_ENCRYPTION_KEYS."""


class ValueForgotten(DecryptionFailed):
    """The raw value was deleted: the time for which its tenant keeps raw values is over."""
