"""Plays a tape to today's engine and judges its calls by today's policy; nothing is written and no tool runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from pydantic import ValidationError

from agents import turn
from agents.errors import ModelError, ReplayImpossible, UnknownProvider
from agents.models import Run
from agents.providers import provider_for
from agents.providers.protocol import Completion, ModelRequest, ProposedCall
from agents.replay.tape import Known, Tape, circumstances, tape_of, text_of
from agents.runs.case import Case, open_case
from agents.runs.proposals import canonical_call
from agents.states import RUN_FINISHED, CallState, RunState
from agents.tools.base import InvalidArgumentsError
from agents.types import MAX_CALLS_PER_STEP
from approvals import chains, manifests
from approvals.errors import NotCanonical, UnknownTool
from approvals.types import Allow, Deny, NeedsApproval, Verdict
from routekit_site.tenancy.halts import standing_for
from traces.redactors import redact
from traces.replay import Course, Divergence, Said, Taken, compare

_MILLION = 1_000_000
_NOT_RECORDED = (
    "This is a replay: no tool runs, and no result is recorded for a call with these arguments. It did not run."
)


@dataclass(frozen=True)
class Report:
    """What a replay found. `notes` are sentences about what could not be replayed as it was."""

    live: bool
    steps: int
    calls: int
    end: str
    divergences: tuple[Divergence, ...]
    notes: tuple[str, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cost_microdollars: int = 0

    def as_json(self) -> dict[str, Any]:
        """As it is stored: redacted, like everything that a report holds."""
        return asdict(self)

    @staticmethod
    def from_json(stored: dict[str, Any]) -> Report:
        """What `as_json` wrote."""
        found = tuple(Divergence(**each) for each in stored["divergences"])
        return Report(**{**stored, "divergences": found, "notes": tuple(stored["notes"])})


@dataclass(frozen=True)
class _Judged:
    """A call under today's policy, by itself.

    `mark` is that by which a rejected call is known again; `link` what its reply has to know, where policy was asked.
    """

    arguments: Any
    said: Said
    mark: str = ""
    link: chains.Link | None = None


@dataclass
class _Made:
    """One call of the replay: as today's engine sees it, the recorded call whose result it got, and its standing."""

    taken: Taken
    known: Known | None
    told: turn.Told
    state: CallState
    position: int
    link: chains.Link | None = None


@dataclass
class _Round:
    """What the replay did so far."""

    made: list[_Made] = field(default_factory=list)
    latest: list[_Made] = field(default_factory=list)
    turns: list[tuple[str, tuple[_Made, ...]]] = field(default_factory=list)
    reply: turn.ReplyFacts | None = None
    started: list[int] = field(default_factory=list)
    tokens: tuple[int, int] = (0, 0)
    rejected: set[tuple[str, str]] = field(default_factory=set)
    notes: dict[str, None] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return len(self.turns)


def replay(run: Run, *, now: datetime, live: bool = False) -> Report:
    """Replay a finished run; `run` comes with its agent and submitter. Asks a model only with `live`.

    Raises:
        ReplayImpossible: the run still goes on, or its agent is stored in a way that can't be read.
        NothingRecorded: its trace was deleted.
    """
    if RunState(run.state) not in RUN_FINISHED:
        raise ReplayImpossible("The run still goes on. Replay it when it has ended.")
    tape = tape_of(run)
    try:
        case = open_case(run, now)
    except ValidationError as error:
        raise ReplayImpossible(
            "The agent's tool filter, sandbox policy or limits are not valid any more, so today's policy can't be "
            "asked. An admin of the tenant should open the agent and save it."
        ) from error
    return _Player(tape, case, live=live).report()


class _Player:
    """Today's engine, fed with a tape."""

    def __init__(self, tape: Tape, case: Case, *, live: bool) -> None:
        self._tape, self._case, self._live = tape, case, live
        self._run = tape.run
        self._redact = partial(redact, tape.run.tenant_id)
        self._left = [known for answer in tape.answers for known in answer.calls]
        self._round = _Round()

    def report(self) -> Report:
        """Play the tape to its end and compare."""
        end = self._play()
        done = self._round
        replayed = Course(
            calls=tuple(made.taken for made in done.made),
            started=tuple(done.started),
            end=_end(end.state, end.kind),
            output=self._output(end.output),
        )
        tokens_in, tokens_out = done.tokens if self._live else (0, 0)
        return Report(
            live=self._live,
            steps=done.steps,
            calls=len(done.made),
            end=replayed.end,
            divergences=compare(self._recorded(), replayed),
            notes=(*circumstances(self._tape), *done.notes),
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            cost_microdollars=self._cost() if self._live else 0,
        )

    def _note(self, text: str) -> None:
        self._round.notes[text] = None

    def _output(self, text: str) -> str:
        return text_of(self._redact(text)) if text else ""

    def _recorded(self) -> Course:
        known = [each for answer in self._tape.answers for each in answer.calls]
        place = {str(each.row.id): number for number, each in enumerate(known, 1)}
        ended_well = self._run.state == RunState.SUCCEEDED and self._tape.answers
        return Course(
            calls=tuple(
                Taken(
                    each.row.tool,
                    each.arguments,
                    text_of(self._redact(each.arguments)),
                    self._tape.recording.said.get(str(each.row.id)),
                )
                for each in known
            ),
            started=tuple(place[call_id] for call_id in self._tape.recording.started if call_id in place),
            end=_end(RunState(self._run.state), self._run.error_kind),
            output=self._output(self._tape.answers[-1].text) if ended_well else "",
        )

    def _play(self) -> turn.Finish:
        """From turn to turn, until today's engine or what was recorded ends the run."""
        while True:
            standings = tuple(turn.CallStanding(str(made.position), made.state) for made in self._round.latest)
            match turn.next_step(self._facts(), self._round.reply, standings):
                case turn.Finish() as finish:
                    return finish if finish.state is RunState.SUCCEEDED else turn.Finish(finish.state, finish.kind)
                case turn.Start(ids) | turn.Settle(ids) | turn.Recover(ids):
                    self._feed(ids)
                case turn.Suspend():
                    raise ReplayImpossible("The engine waits for a person, which no replay does.")
                case turn.AskModel():
                    ended = self._ask()
                    if ended is not None:
                        return ended

    def _facts(self) -> turn.RunFacts:
        run, done = self._run, self._round
        return turn.RunFacts(
            steps=done.steps,
            max_steps=run.max_steps,
            tokens=sum(done.tokens),
            max_tokens=run.max_tokens,
            cost=self._cost(),
            max_cost=run.max_cost_microdollars,
            worked=0,
            max_worked=1,
        )

    def _cost(self) -> int:
        agent, (tokens_in, tokens_out) = self._run.agent, self._round.tokens
        return (tokens_in * agent.input_price + tokens_out * agent.output_price) // _MILLION

    def _feed(self, ids: Sequence[str]) -> None:
        """The recorded outcomes of calls whose turn has come."""
        for made in self._round.latest:
            if str(made.position) in ids:
                made.state = made.known.final if made.known is not None else CallState.WITHDRAWN
                if made.known is not None and str(made.known.row.id) in self._tape.recording.started:
                    self._round.started.append(made.position)

    def _ask(self) -> turn.Finish | None:
        """The next answer, recorded or live; the end where there is none."""
        done = self._round
        if self._live:
            return self._ask_model()
        if done.steps >= len(self._tape.answers):
            return self._as_recorded()
        answer = self._tape.answers[done.steps]
        self._take(answer.text, answer.finish_reason, answer.tokens, [self._again(known) for known in answer.calls])
        return None

    def _as_recorded(self) -> turn.Finish:
        """What ended the run came from outside: a person, the clock, a server, a lost worker."""
        state = RunState(self._run.state)
        if state is RunState.SUCCEEDED:
            self._note("Today's engine would ask the model once more, where the run had ended.")
            return turn.Finish(RunState.FAILED, "would_go_on")
        return turn.Finish(state, self._run.error_kind)

    def _ask_model(self) -> turn.Finish | None:
        agent = self._run.agent
        if standing_for(self._run.tenant_id, str(agent.pk)) is not None:
            raise ReplayImpossible("The kill switch stands for this agent: no model is asked until it is lifted.")
        answers = ((text, tuple(made.told for made in calls)) for text, calls in self._round.turns)
        request = ModelRequest(
            model=agent.model,
            instructions=agent.instructions,
            messages=turn.conversation(self._tape.prompt, answers),
            tools=self._case.offers(),
            timeout=self._case.runtime.timeout,
        )
        try:
            completion = provider_for(agent.provider).complete(request, stop=lambda: False)
        except UnknownProvider as error:
            raise ReplayImpossible(str(error)) from error
        except ModelError as error:
            self._note(f"The model did not answer: {error}")
            return turn.Finish(RunState.FAILED, error.kind)
        return self._take_live(completion)

    def _take_live(self, completion: Completion) -> turn.Finish | None:
        calls = [self._proposed(call) for call in completion.calls[:MAX_CALLS_PER_STEP]]
        tokens = (completion.input_tokens, completion.output_tokens)
        self._take(completion.text, completion.finish_reason, tokens, calls)
        if calls and not any(made.known for made in calls):
            step = self._round.steps
            self._note(f"The replay ends with step {step}: no result is recorded for any of the calls in it.")
            return turn.Finish(RunState.FAILED, "nothing_recorded")
        return None

    def _take(self, text: str, finish_reason: str, tokens: tuple[int, int], calls: list[_Made]) -> None:
        done = self._round
        self._join(calls)
        done.reply = turn.ReplyFacts(finish_reason, text)
        done.tokens = (done.tokens[0] + tokens[0], done.tokens[1] + tokens[1])
        done.turns.append((text, tuple(calls)))
        done.latest = calls

    def _join(self, calls: list[_Made]) -> None:
        """Judge the calls of one reply together (`approvals.chains`)."""
        linked = [(made, made.link) for made in calls if made.link is not None]
        for (made, link), verdict in zip(linked, chains.together([link for _, link in linked]), strict=True):
            if verdict == link.verdict:
                continue
            said = _word(verdict, self._redact)
            made.taken = replace(made.taken, said=said)
            if made.known is not None:
                made.state = _today(said, made.known)

    def _again(self, known: Known) -> _Made:
        """A recorded call, judged today."""
        judged = self._judge(known.row.tool, _written(known.arguments), known.arguments)
        self._remember(known, judged.mark)
        return self._made(known.row.tool, judged, known, known.told)

    def _proposed(self, call: ProposedCall) -> _Made:
        """A live call, judged today; it gets the result of the first recorded call that is the same."""
        judged = self._judge(call.tool, call.arguments, self._as_known(call))
        arguments = judged.arguments
        known = next((k for k in self._left if (k.row.tool, k.arguments) == (call.tool, arguments)), None)
        if known is not None:
            self._left.remove(known)
            self._remember(known, judged.mark)
        parsed = arguments if isinstance(arguments, dict) else None
        told = turn.Told(
            call.call_id,
            call.tool,
            parsed,
            call.arguments,
            known.told.state if known is not None else CallState.WITHDRAWN,
            known.told.result if known is not None else _NOT_RECORDED,
        )
        return self._made(call.tool, judged, known, told)

    def _remember(self, known: Known, mark: str) -> None:
        if known.final is CallState.REJECTED:
            self._round.rejected.add((known.row.tool, mark))

    def _made(self, tool: str, judged: _Judged, known: Known | None, told: turn.Told) -> _Made:
        taken = Taken(tool, judged.arguments, text_of(self._redact(judged.arguments)), judged.said)
        made = _Made(taken, known, told, CallState.WITHDRAWN, len(self._round.made) + 1, judged.link)
        if known is not None:
            made.state = _today(judged.said, known)
        self._round.made.append(made)
        return made

    def _as_known(self, call: ProposedCall) -> Any:
        """The arguments of a call that can't be judged: in the form in which they are recorded, if they are."""
        forms = (call.arguments, _parsed(call.arguments))
        return next((k.arguments for k in self._left if k.row.tool == call.tool and k.arguments in forms), forms[0])

    def _judge(self, tool: str, written: str, unjudged: Any) -> _Judged:
        try:
            manifest = manifests.get(tool)
        except UnknownTool as error:
            self._round.notes[f'The tool "{tool}" is not installed here any more. Its recorded results were used.'] = (
                None
            )
            return _Judged(unjudged, Said("unknown_tool", "", str(error)))
        try:
            arguments, mark = canonical_call(self._case, manifest, written)
        except (InvalidArgumentsError, NotCanonical) as error:
            return _Judged(unjudged, Said("invalid_arguments", "", str(error)))
        if (tool, mark) in self._round.rejected:
            return _Judged(arguments, Said("rejected_before"), mark)
        verdict = self._case.verdict(self._case.call_facts(manifest, arguments))
        link = self._case.link(manifest, arguments, verdict)
        return _Judged(arguments, _word(verdict, self._redact), mark, link)


def _today(said: Said, known: Known) -> CallState:
    """Where a call stands after today's verdict, before its recorded outcome is fed."""
    if said.verdict == "allow":
        return CallState.PERMITTED
    return CallState.GATED if said.verdict == "needs_approval" else known.final


def _word(verdict: Verdict, redacted: Any) -> Said:
    reason = text_of(redacted(verdict.reason))
    match verdict:
        case Allow():
            return Said("allow", verdict.rule, reason)
        case NeedsApproval():
            return Said("needs_approval", verdict.rule, reason)
        case Deny():
            return Said("deny", verdict.rule, reason)


def _written(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()


def _parsed(written: str) -> Any:
    """JSON as it is; what is none, as the text that the model wrote."""
    try:
        value = orjson.loads(written)
    except orjson.JSONDecodeError:
        return written
    return value if isinstance(value, dict) else written


def _end(state: RunState, kind: str) -> str:
    words = state.value.replace("_", " ")
    return f"{words}: {kind.replace('_', ' ')}" if kind and kind != state.value else words
