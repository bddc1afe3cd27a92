"""What may have been the cause: the rules over the signs, each with what speaks for it and against it. Pure.

The score of a cause is its prior and the weights of the signs about its suspect, in bits; its odds are two to the power
of that. Confidence is its share of all odds, those of "something else" (score 0) included, so that all confidences and
the rest make 100 %.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vx11.recovery import signs
from vx11.recovery.failure import Failure
from vx11.recovery.rules import RULES, Kind, Rule
from vx11.recovery.sign import Sign

__all__ = ["Analysis", "Cause", "Ground", "Kind", "analyse", "causes"]

# What says less than this changes nothing that a reader would see.
LEAST = 0.25
# Of the causes, so many are told whatever their confidence, and no more than so many with at least a percent.
ALWAYS, MOST = 3, 8


@dataclass(frozen=True)
class Ground:
    """A sign as a cause takes it.

    Attributes:
        weight: bits, below zero against it.
    """

    sign: Sign
    weight: float


@dataclass(frozen=True)
class Cause:
    """A cause.

    Attributes:
        suspect: a service, an assert, a suite …, by name.
        score: bits.
        confidence: percent.
        grounds: the heaviest first.
    """

    rule: Rule
    suspect: str
    score: float
    confidence: float
    grounds: Sequence[Ground]

    @property
    def kind(self) -> Kind:
        """What sort of thing is suspected."""
        return self.rule.kind

    @property
    def supports(self) -> list[Ground]:
        """What speaks for it."""
        return [ground for ground in self.grounds if ground.weight > 0]

    @property
    def contradicts(self) -> list[Ground]:
        """What speaks against it."""
        return [ground for ground in self.grounds if ground.weight < 0]

    @property
    def signature(self) -> str:
        """The same for the same bug: cause, suspect and what the heaviest signs have of their own."""
        keys = dict.fromkeys(ground.sign.key for ground in self.supports if ground.sign.key)
        return ": ".join([f"{self.rule.name} of {self.suspect}", *([" / ".join(keys)] if keys else [])])


@dataclass(frozen=True)
class Analysis:
    """All of it.

    Attributes:
        causes: the most likely first; at least one, `none` when no rule fits.
        rest: percent that none of them is it.
        left_out: how many less likely ones are not among them.
    """

    causes: Sequence[Cause]
    rest: float
    left_out: int = 0


def analyse(failure: Failure) -> Analysis:
    """What may have been the cause of a failure."""
    found = causes(signs.of(failure))
    shown = [cause for number, cause in enumerate(found[:MOST]) if number < ALWAYS or cause.confidence >= 1]
    rest = 100 - sum(cause.confidence for cause in found)
    return Analysis(shown or [Cause(_NONE, failure.case, 0.0, 0.0, ())], rest, len(found) - len(shown))


_NONE = Rule("none", Kind.ENVIRONMENT, "no rule fits what was seen of it", {}, {})


def causes(found: Sequence[Sign]) -> list[Cause]:
    """Those that signs make worth a thought, the most likely first."""
    about: dict[str, list[Sign]] = defaultdict(list)
    for sign in found:
        about[sign.about].append(sign)
    scored = [one for suspect, own in about.items() for one in _of(suspect, own)]
    odds = 1 + sum(2**score for _, _, score, _ in scored)
    every = [Cause(rule, suspect, score, 100 * 2**score / odds, grounds) for rule, suspect, score, grounds in scored]
    return sorted(every, key=lambda cause: (-cause.score, cause.rule.name, cause.suspect))


def _of(suspect: str, own: Sequence[Sign]) -> Iterator[tuple[Rule, str, float, Sequence[Ground]]]:
    """The rules that fit the signs about one thing, with their scores."""
    strongest = _strongest(own)
    for rule in RULES:
        if not rule.opens.keys() & strongest.keys():
            continue
        grounds = [Ground(sign, round(rule.weight(name) * sign.share, 2)) for name, sign in strongest.items()]
        kept = sorted((one for one in grounds if abs(one.weight) >= LEAST), key=lambda one: -abs(one.weight))
        yield rule, suspect, rule.prior + sum(one.weight for one in kept), kept


def _strongest(own: Sequence[Sign]) -> Mapping[str, Sign]:
    """Of each name the sign that says the most: seen twice, it does not count twice."""
    found: dict[str, Sign] = {}
    for sign in own:
        if sign.name not in found or found[sign.name].share < sign.share:
            found[sign.name] = sign
    return found
