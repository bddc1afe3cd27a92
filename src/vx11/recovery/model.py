"""A patch intent as data: what `intent.json` holds, and what the Markdown shows. Section numbers are those of the
specification, section 6.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vx11.recovery.text import safe

UNKNOWN: Literal["unknown"] = "unknown"
Text = Annotated[str, AfterValidator(safe), Field(min_length=1)]
Level = Literal["LOW", "MEDIUM", "HIGH"]


class Model(BaseModel):
    """Strict about keys, immutable once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Metadata(Model):
    """Section 1; `generated` is ISO 8601, UTC."""

    intent_id: Text
    generated: Text
    test_id: Text
    test_case: Text
    description: Text
    attempt: int
    conductor_version: Text
    evidence: Text


class Summary(Model):
    """Section 2."""

    detected_at: Text
    phase: Text
    error_code: Text
    impact: Level
    impact_why: Text
    expected: bool
    message: Text


class Excerpt(Model):
    """Lines of a log or a traceback; what there is none of says why."""

    title: Text
    text: Text


class Deviation(Model):
    """An assert that does not hold."""

    name: Text
    expected: Text
    observed: Text
    deviation: Text


class Point(Model):
    """An evidence point; `is_failure` when it is a part of the failure, and not of what led to it."""

    number: int
    at: Text
    observation: Text
    source: Text
    is_failure: bool


class TechnicalDetails(Model):
    """Section 3."""

    state_before: Annotated[list[Text], Field(min_length=1)]
    errors: Annotated[list[Text], Field(min_length=1)]
    tracebacks: list[Excerpt]
    logs: Annotated[list[Excerpt], Field(min_length=1)]
    evidence_points: Annotated[list[Point], Field(min_length=1)]
    points_left_out: int
    deviations: list[Deviation]


class Ground(Model):
    """What speaks for a hypothesis or, with less than no bits, against it; `where` is a record, or file and line."""

    sign: Text
    observation: Text
    where: Text
    bits: float


class Hypothesis(Model):
    """What may have been the cause; confidence in percent, `derived` how its score in bits came about."""

    cause: Text
    suspect: Text
    kind: Text
    claim: Text
    confidence: Annotated[int, Field(ge=0, le=99)]
    score: float
    derived: Text
    supports: list[Ground]
    contradicts: list[Ground]


class RootCause(Model):
    """Section 4; `something_else` is the percentage that is left for what no rule knows.

    The signature is the same for the same failure, in other cases and in other runs.
    """

    primary: Hypothesis
    alternatives: list[Hypothesis]
    something_else: Annotated[int, Field(ge=0, le=100)]
    left_out: int
    signature: Text
    other_cases: Annotated[list[Text], Field(min_length=1)]
    earlier_runs: Annotated[list[Text], Field(min_length=1)]


class Change(Model):
    """A change that a human may make; what is not known is `unknown`, and `why` says why."""

    file: Text
    line: int | Literal["unknown"]
    from_: Text = Field(alias="from")
    to: Text
    why: Text


class Check(Model):
    """An item of a check list."""

    marked: bool = False
    text: Text


class Patch(Model):
    """Section 5; `diff` is the file beside the intent that has the changes as a unified diff, or why there is none."""

    apply_automatically: Literal[False] = False
    type: Literal["config", "code", "dependency", "unknown"]
    target: Text
    changes: Annotated[list[Change], Field(min_length=1)]
    diff: Text
    validation: Annotated[list[Check], Field(min_length=4)]


class Resource(Model):
    """A row of what the patch means for resources."""

    name: Text
    current: Text
    estimated: Text
    change: Text


class Impact(Model):
    """Section 6; a system that is marked is affected."""

    systems: Annotated[list[Check], Field(min_length=3)]
    resources: Annotated[list[Resource], Field(min_length=3)]


class Step(Model):
    """A step of the rollback: what it is for, and the shell command."""

    purpose: Text
    command: Text


class SignOff(Model):
    """A row of section 9; a human fills it in."""

    role: Text
    name: str = ""
    date: str = ""
    approval: str = ""


class Intent(Model):
    """A patch intent."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    metadata: Metadata
    failure_summary: Summary
    technical_details: TechnicalDetails
    root_cause: RootCause
    proposed_patch: Patch
    impact: Impact
    rollback: Annotated[list[Step], Field(min_length=1)]
    next_actions: Annotated[list[Check], Field(min_length=4)]
    sign_off: Annotated[list[SignOff], Field(min_length=2)]
