# SPDX-License-Identifier: Apache-2.0
"""What `pdctl status` says of a training."""

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class Status:
    """The fields that tests need."""
    state: str
    message: str
    generation: int
    step: int
    max_steps: int
    expired: int
    checkpoint_step: int  # the newest complete one; -1: none
    checkpoint_failures: int
    checkpoint_error: str
    training_seconds: float  # since the generation's first lease
    newest_training_step: int
    speculative: int = 0  # leases given to a second worker because the first was slow

    @property
    def finished(self) -> bool:
        """Whether the training is finished."""
        return self.state == "finished"

    @property
    def reassigned(self) -> int:
        """Leases that were taken from a worker, or given to a second one."""
        return self.expired + self.speculative

    @classmethod
    def parse(cls, text: str) -> "Status":
        """Reads pdctl's JSON."""
        fields = json.loads(text)
        checkpoint = fields.get("checkpoint") or {}
        last = fields.get("last_training") or {}
        step = checkpoint.get("step")
        return cls(fields["state"], fields["message"], fields["generation"], fields["step"],
                   fields["max_steps"], fields["expired_leases"], -1 if step is None else step,
                   checkpoint.get("failures", 0), checkpoint.get("error", ""),
                   last.get("seconds", 0.0), last.get("step", -1),
                   fields.get("speculative_leases", 0))
