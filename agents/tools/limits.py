"""What one tool call may use. A pure value, shared by tool declarations and sandbox policies."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ResourceLimits(BaseModel):
    """Ceilings for one tool call. Seconds, MiB and KiB; the kernel or the worker enforces each of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout: float = Field(default=30.0, gt=0, le=3600, description="Wall-clock seconds until the call is killed.")
    cpu_seconds: int = Field(default=10, ge=1, le=3600, description="Processor seconds, all threads together.")
    memory_mb: int = Field(default=256, ge=16, le=8192, description="MiB of address space the tool may add.")
    max_file_mb: int = Field(default=16, ge=0, le=4096, description="MiB of the largest file the tool may write.")
    max_disk_mb: int = Field(default=256, ge=1, le=65536, description="MiB the writable folders may hold in all.")
    max_files: int = Field(default=2000, ge=1, le=1_000_000, description="Files the writable folders may hold in all.")
    max_open_files: int = Field(default=64, ge=16, le=4096, description="Files the tool may hold open at once.")
    max_egress_kb: int = Field(default=16_384, ge=1, le=1_048_576, description="KiB sent and received in one call.")
    max_result_kb: int = Field(default=1024, ge=1, le=65536, description="KiB of JSON the tool may return.")
    max_output_kb: int = Field(default=16, ge=0, le=1024, description="KiB kept of what the tool prints.")

    def tightened(self, other: ResourceLimits | None) -> ResourceLimits:
        """The smaller of each limit that `other` names: a tool's declaration can only narrow what a policy grants."""
        if other is None:
            return self
        narrower = {name: min(getattr(self, name), getattr(other, name)) for name in other.model_fields_set}
        return self.model_copy(update=narrower)
