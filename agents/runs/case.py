"""What a call of a run is judged by at one moment: the policy, the agent and its sandbox as they are now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from agents.ceilings import ceiling_of, limits_of, runtime_of
from agents.context import Context, context_of
from agents.execution import SandboxPolicy, files_of, holds, policy_for, sandbox_digest, sandbox_policy, within
from agents.models import Run
from agents.providers.protocol import ToolOffer
from agents.runs.transcript import latest_steps
from agents.tools import registry
from agents.tools.files import FileAccess
from agents.types import RuntimeDefaults
from approvals import callbacks, chains, gates, policy
from approvals.effects import Reversibility
from approvals.manifests import ToolManifest, all_manifests, risk_of
from approvals.models import ApprovalGate
from approvals.policy_facts import policy_digest, policy_facts
from approvals.presentation import PresentationContext, Step, present
from approvals.types import (
    Allow,
    Binding,
    CallFacts,
    NeedsApproval,
    PolicyFacts,
    ToolFilter,
    Verdict,
)

FRESH_FOR = 0.5


@dataclass(frozen=True)
class Case:
    """One run's surroundings. `run` comes with its agent and submitter."""

    run: Run
    facts: PolicyFacts
    sandbox: SandboxPolicy
    runtime: RuntimeDefaults
    now: datetime
    opened: float = field(default_factory=time.monotonic, compare=False)

    def is_stale(self, run: Run, now: datetime) -> bool:
        """Whether policy, agent or sandbox are others by now; asked of a case that was opened a while ago.

        A policy's callback may take seconds for each call. `run` is the run as it was just locked.
        """
        if time.monotonic() - self.opened < FRESH_FOR:
            return False
        again = open_case(run, now)
        facts = replace(again.facts, rules=self.facts.rules)  # a rule is counted when it is used, or found to be over
        return (facts, again.sandbox, run.agent.version) != (self.facts, self.sandbox, self.run.agent.version)

    @cached_property
    def files(self) -> FileAccess | None:
        return files_of(self.sandbox)

    def sandbox_for(self, manifest: ToolManifest) -> SandboxPolicy:
        """What holds a call of this tool: the agent's policy, narrowed by what the tool declares."""
        return policy_for(self.sandbox, manifest, self.runtime)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """What the run did just before, for whoever is asked."""
        return latest_steps(self.run)

    def offers(self) -> tuple[ToolOffer, ...]:
        """The tools that the model may be told of: denied ones are never advertised."""
        manifests = {manifest.name: manifest for manifest in all_manifests()}
        return tuple(
            ToolOffer(name, manifests[name].description, manifests[name].argument_schema)
            for name in policy.offered(manifests, self.facts)
        )

    def call_facts(self, manifest: ToolManifest, arguments: Mapping[str, Any]) -> CallFacts:
        """The call as policy judges it. Asks the policy's callback, which takes time: not inside a transaction."""
        call = CallFacts(
            tool=manifest.name,
            arguments=arguments,
            permissions=manifest.permissions,
            reversibility=manifest.reversibility_for(arguments),
            agent_id=str(self.run.agent_id),
        )
        return callbacks.consulted(call, self.facts)

    def verdict(self, call: CallFacts) -> Verdict:
        """What policy says of the call now, by itself."""
        return policy.decide(call, self.facts, self.now)

    def link(self, manifest: ToolManifest, arguments: Mapping[str, Any], verdict: Verdict) -> chains.Link:
        """The call as one of its reply (Note [Chains]); `verdict` is policy's on the call by itself."""
        counts = self._counting(manifest, arguments)
        return chains.Link(
            tool=manifest.name,
            risk=risk_of(manifest.permissions, counts),
            only_reads=counts is Reversibility.READ_ONLY,
            verdict=verdict,
            allowance=self.facts.allowances.get(manifest.name),
        )

    def _counting(self, manifest: ToolManifest, arguments: Mapping[str, Any]) -> Reversibility:
        """The class that counts for the call: the tenant's word, or else the tool's own on these arguments."""
        return policy.reversibility_of(manifest.name, manifest.reversibility_for(arguments), self.facts)

    def asked_again(self, tool: str, verdict: Allow | NeedsApproval, gate: ApprovalGate, reason: str) -> NeedsApproval:
        """What is asked of a call that this gate has asked a person about: no less than its reply's chain did."""
        return chains.again(verdict, gate.presentation, self.facts.allowances[tool], reason)

    def context(self, manifest: ToolManifest, arguments: Mapping[str, Any]) -> Context:
        """What the call acts on, as it is now."""
        return context_of(manifest.name, arguments, self.files)

    def is_as_bound(self, binding: Binding, manifest: ToolManifest) -> bool:
        """Whether what a call acts on is still as its binding says, such as the file that it would replace."""
        bound = binding.context_digest
        return not bound or self.context(manifest, binding.arguments).digest == bound

    def binding(self, call_id: UUID, manifest: ToolManifest, arguments: Mapping[str, Any], context: Context) -> Binding:
        """Everything that an approval of this call is bound to."""
        return Binding(
            tenant_id=self.run.tenant_id,
            run_id=self.run.id,
            call_id=str(call_id),
            tool=manifest.name,
            tool_schema_digest=manifest.schema_digest,
            arguments=arguments,
            requester_id=self.run.submitter_id,
            agent_id=str(self.run.agent_id),
            agent_version=self.run.agent.version,
            policy_digest=policy_digest(self.facts, manifest.name),
            sandbox_digest=sandbox_digest(self.sandbox_for(manifest)),
            context_digest=context.digest,
            permissions=tuple(sorted(permission.value for permission in manifest.permissions)),
            reversibility=self._counting(manifest, arguments).value,
        )

    def gate_request(
        self,
        call_id: UUID,
        manifest: ToolManifest,
        arguments: Mapping[str, Any],
        verdict: NeedsApproval,
        *,
        reopens: UUID | None = None,
        change: Mapping[str, Any] | None = None,
    ) -> gates.GateRequest:
        """What `gates.open_gate` needs to ask a person about this call."""
        shown = replace(manifest, reversibility=self._counting(manifest, arguments))
        context = self.context(manifest, arguments)
        tool = registry.tool_named(manifest.name)
        presentation = present(
            tenant_id=self.run.tenant_id,
            tool=manifest.name,
            sentence=registry.sentence_of(tool, arguments) if tool is not None else manifest.name,
            arguments=arguments,
            manifest=shown,
            context=PresentationContext(
                verdict=verdict,
                submitter_id=self.run.submitter_id,
                submitter_name=self.run.submitter.display_name,
                agent_name=self.run.agent.name,
                agent_version=self.run.agent.version,
                steps=self.steps,
                sandbox=holds(self.sandbox_for(manifest)),
                file_change=context.file_change,
                request=context.request,
                change=change,
            ),
        )
        return gates.GateRequest(
            binding=self.binding(call_id, manifest, arguments, context),
            manifest=shown,
            verdict=verdict,
            presentation=presentation,
            agent_name=self.run.agent.name,
            reopens=reopens,
            change=dict(change) if change is not None else None,
        )


def open_case(run: Run, now: datetime) -> Case:
    """Look at the policy, the agent and its sandbox as they are now.

    Raises:
        pydantic.ValidationError: what is stored for the agent is no policy.
    """
    agent, ceiling = run.agent, ceiling_of(run.tenant)
    agent_filter = ToolFilter.model_validate(agent.tool_filter) if agent.tool_filter is not None else None
    return Case(
        run=run,
        facts=policy_facts(run.tenant_id, agent_filter=agent_filter, now=now, agent_id=str(agent.pk)),
        sandbox=within(sandbox_policy(agent.sandbox), limits_of(ceiling)),
        runtime=runtime_of(agent, ceiling),
        now=now,
    )
