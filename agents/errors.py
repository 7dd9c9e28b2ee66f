"""What can go wrong on the agents floor; each docstring is the message that a person reads."""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """The run could not go on."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").strip()


class EmptyPrompt(AgentError):
    """Write what the agent should do; the prompt is empty."""


class SecretPasted(AgentError):
    """The prompt holds what looks like a live key or password. Take it out, and renew it if it was real."""


class PromptTooLong(AgentError):
    """The prompt is too long: at most 1,000,000 characters are taken."""


class AgentNotFound(AgentError):
    """There is no such agent in this tenant."""


class AgentDisabled(AgentError):
    """This agent is switched off. Choose another one, or ask an admin of the tenant to switch it on."""


class BadIdempotencyKey(AgentError):
    """The form's key is missing or too long. Reload the page and send it again."""


class FormReused(AgentError):
    """This form was sent before, with another job, which was taken. Send this one again to start it too."""


class AgentHalted(AgentError):
    """The kill switch is on for this agent, so nothing of it starts."""


class StateChanged(AgentError):
    """What the run had kept between its steps was changed behind the application's back."""

    def __init__(self, row: str) -> None:
        self.row = row
        super().__init__(
            f"The run was stopped: {row} is not as the application wrote it. Somebody or something changed it in the "
            "database. Nothing more of the run is executed; an operator should find out who did it."
        )


class RunFinished(AgentError):
    """This run has already finished; there is nothing to cancel."""


class NothingRecorded(AgentError):
    """This run's trace was deleted when its time was over, so there is nothing to compare a replay with."""


class ReplayImpossible(AgentError):
    """This run can't be replayed."""


class NotEditable(AgentError):
    """This call can't be edited: it waits no more, or it may have taken effect already. Reload the page."""


class LeaseLost(AgentError):
    """Another worker holds this run now."""


class CallOutOfStep(AgentError):
    """A call waits for an approval that was used already; its row was changed behind the application's back."""


class UnknownProvider(AgentError):
    """The agent names a model provider that this site does not have."""


class BadTool(AgentError):
    """A tool in a routekit_tools.py is not declared as it should be."""


class ModelError(AgentError):
    """The model could not be asked."""

    kind: ClassVar[str] = "model_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").strip()


class ModelBusy(ModelError):
    """The model's server asked to slow down (429)."""

    kind = "model_busy"
    retryable = True


class ModelUnavailable(ModelError):
    """The model's server answered with an error of its own."""

    kind = "model_unavailable"
    retryable = True


class ModelUnreachable(ModelError):
    """The model's server could not be reached, or the connection broke while it answered."""

    kind = "model_unreachable"
    retryable = True


class ModelTruncated(ModelError):
    """The model's answer ended before it was complete."""

    kind = "model_truncated"
    retryable = True


class ModelRefused(ModelError):
    """The model's server refused the request. An admin should check the agent's model and the site's key."""

    kind = "model_refused"


class ModelNotConfigured(ModelError):
    """No key for the model's server is set. An operator sets OPENAI_API_KEY."""

    kind = "model_not_configured"


class ModelInterrupted(ModelError):
    """The call was given up because the run was cancelled or this worker is stopping."""

    kind = "model_interrupted"
