"""Why a request about a window was refused or failed; `code` is the word that clients see."""

from vx11.errors import Vx11Error


class WindowError(Vx11Error):
    """Base of what windows refuse; `field` names the part of the request that was wrong, where there is one."""

    code = "refused"
    field: str | None = None


class ServiceUnknown(WindowError):
    """The catalogue has no such service."""

    code = "service_unknown"
    field = "service"


class ServiceNotAllowed(WindowError):
    """The allowlist does not have the service, or not with this entry."""

    code = "service_not_allowed"
    field = "service"


class NoWindow(WindowError):
    """Nothing is open by that id or name."""

    code = "no_window"


class TtlTooLong(WindowError):
    """The window would live longer than its service's `max_ttl`."""

    code = "ttl_too_long"
    field = "ttl"


class LimitsDiffer(WindowError):
    """The window is open with other limits than were asked for."""

    code = "limits_differ"
    field = "resources"


class LimitsNotApplied(WindowError):
    """A limit that was stated did not take effect, so the window was taken back."""

    code = "limits_not_applied"
    field = "resources"


class ReturningToSoloMadre(WindowError):
    """Everything is being closed just now, so nothing is opened."""

    code = "returning_to_solo_madre"


class WindowStuck(WindowError):
    """An earlier window of the service could not be closed yet."""

    code = "window_stuck"


class OpenFailed(WindowError):
    """The service did not start or did not get ready; everything it started was taken back."""

    code = "open_failed"


class FaultsOff(WindowError):
    """Faults are off, as they are unless madre is told otherwise."""

    code = "faults_off"


class FaultNotPossible(WindowError):
    """The window cannot have this fault: it is not ready, or the engine cannot do it here."""

    code = "fault_not_possible"


class FaultFailed(WindowError):
    """The fault was not seen to bite, or to be gone."""

    code = "fault_failed"


class EvidenceUnavailable(WindowError):
    """Evidence cannot be written, so nothing is opened, and no fault is injected."""

    code = "evidence_unavailable"
