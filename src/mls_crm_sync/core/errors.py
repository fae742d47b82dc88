"""Every error the product raises on purpose, sorted by consequence.

Domain errors know no HTTP and no exit code: they carry facts, and the edges (`cli`, `api`) translate them.
The class docstring is the title a person reads; `code` is the stable word a program reads.

    SyncError
    ├── Refused              the caller asked for something that cannot be; nothing was changed
    │   ├── NotFound         ListingNotFound, CrmPropertyNotFound, KeyNotFound, HoldNotFound, SourceNotFound ...
    │   ├── Conflict         AlreadyLinked, NotLinked, VersionMismatch, AmbiguousListingKey, IdTaken, NoProposal
    │   └── InvalidInput     a member of the request is not valid
    ├── RecordRejected       one record is broken: quarantine it, go on with the rest
    ├── SourceBroken         the delivery cannot be read on: what was stored stays, the pass is not complete
    │   ├── SourcePartial    it ended before its end
    │   ├── SourceBlocked    an answer that is none of the source's: a block page, a log-in page
    │   ├── SourceRefused    the source does not let us in: nothing is tried again before a person looked
    │   ├── RateLimited      the source asks us to slow down
    │   └── SourceUnavailable  no answer, or none in time
    ├── RunLost              the run is no longer ours (given away, cancelled): stop writing
    ├── ShareFailed          a process that read a share of the delivery ended badly: what was stored stays
    ├── StoreUnavailable     the database is away, full or busy: try again later
    └── SetupError           the installation must be mended by a person first
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Literal


class SyncError(Exception):
    """Something went wrong"""

    code = "error"

    @property
    def title(self) -> str:
        return (type(self).__doc__ or "").strip().splitlines()[0]

    @property
    def hint(self) -> str | None:
        """What the reader can do about it, or None when the message says all."""
        return None


class Refused(SyncError):
    """The request was refused"""

    code = "refused"


class NotFound(Refused):
    """Not found"""

    code = "not_found"


class ListingNotFound(NotFound):
    """There is no such listing"""

    code = "listing_not_found"

    def __init__(self, property_id: str, *, key: str = "id") -> None:
        super().__init__(f"no listing has the {key} {property_id!r}")
        self.property_id = property_id

    @property
    def hint(self) -> str:
        return "listings come in with `mls-crm-sync ingest FILE`; `mls-crm-sync listings list` shows their ids"


class CrmPropertyNotFound(NotFound):
    """There is no such CRM property"""

    code = "crm_property_not_found"

    def __init__(self, crm_id: str) -> None:
        super().__init__(f"no CRM property has the id {crm_id!r}")
        self.crm_id = crm_id

    @property
    def hint(self) -> str:
        return "CRM properties come in with `mls-crm-sync crm import FILE`; `mls-crm-sync crm list` shows their ids"


class QuarantineNotFound(NotFound):
    """There is no such quarantined record"""

    code = "quarantine_not_found"

    def __init__(self, quarantine_id: int) -> None:
        super().__init__(f"no quarantined record has the id {quarantine_id}")
        self.quarantine_id = quarantine_id


class KeyNotFound(NotFound):
    """There is no such API key"""

    code = "key_not_found"

    def __init__(self, key_id: int | str) -> None:
        super().__init__(f"no API key in force has the id {key_id!r}")
        self.key_id = key_id


class HoldNotFound(NotFound):
    """There is no such hold"""

    code = "hold_not_found"

    def __init__(self, hold_id: int) -> None:
        super().__init__(f"no listings are held under the id {hold_id}")
        self.hold_id = hold_id

    @property
    def hint(self) -> str:
        return "`mls-crm-sync absences holds` shows their ids"


class SourceNotFound(NotFound):
    """There is no such source"""

    code = "source_not_found"

    def __init__(self, name: str | None) -> None:
        """`name` is None where the default one was asked for."""
        super().__init__(f"no source is called {name!r}" if name is not None else "no source is the default one")
        self.name = name

    @property
    def hint(self) -> str:
        return "`mls-crm-sync sources list` shows those that are set up, `mls-crm-sync sources add` sets one up"


class ScheduleNotFound(NotFound):
    """There is no such schedule"""

    code = "schedule_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no schedule has the id {job_id!r}")
        self.job_id = job_id

    @property
    def hint(self) -> str:
        return "`mls-crm-sync schedule list` shows their ids"


class RunNotFound(NotFound):
    """There is no such run"""

    code = "run_not_found"

    def __init__(self, run_id: int) -> None:
        super().__init__(f"no run has the id {run_id}")
        self.run_id = run_id

    @property
    def hint(self) -> str:
        return "`mls-crm-sync runs list` shows their ids"


class PlatformNotFound(NotFound):
    """There is no such platform"""

    code = "platform_not_found"

    def __init__(self, platform: str) -> None:
        super().__init__(f"no CRM property belongs to the platform {platform!r}")
        self.platform = platform


class ReferenceNotFound(NotFound):
    """There is no such reference"""

    code = "reference_not_found"

    def __init__(self, crm_id: str, property_id: str) -> None:
        super().__init__(f"CRM property {crm_id!r} is not linked to listing {property_id!r}")
        self.crm_id, self.property_id = crm_id, property_id


class Conflict(Refused):
    """The request does not fit the present state"""

    code = "conflict"


class AlreadyLinked(Conflict):
    """The CRM property is linked to another listing"""

    code = "already_linked"

    def __init__(self, crm_id: str, property_id: str) -> None:
        super().__init__(f"CRM property {crm_id!r} is linked to listing {property_id!r}")
        self.crm_id = crm_id
        self.property_id = property_id

    @property
    def hint(self) -> str:
        return f"to move it, say --move, or `mls-crm-sync unlink {self.crm_id}` first"


class NotLinked(Conflict):
    """The CRM property is not linked"""

    code = "not_linked"

    def __init__(self, crm_id: str) -> None:
        super().__init__(f"CRM property {crm_id!r} is not linked to a listing")
        self.crm_id = crm_id


class CrmPropertyExists(Conflict):
    """There is a CRM property with this id already"""

    code = "already_exists"

    def __init__(self, crm_id: str) -> None:
        super().__init__(f"a CRM property has the id {crm_id!r} already")
        self.crm_id = crm_id


class VersionMismatch(Conflict):
    """Somebody else changed it in the meantime"""

    code = "version_mismatch"

    def __init__(self, crm_id: str, expected: Collection[int], actual: int, *, what: str = "CRM property") -> None:
        """`expected` are the versions that would have done; none where what was asked for contradicts itself."""
        others = " or ".join(map(str, sorted(expected))) or "what was asked for"
        super().__init__(f"{what} {crm_id!r} is at version {actual}, not {others}")
        self.crm_id, self.expected, self.actual = crm_id, expected, actual

    @property
    def hint(self) -> str:
        return "read it again and repeat the change on what is there now"


class AmbiguousListingKey(Conflict):
    """The key names listings of several sources"""

    code = "ambiguous_listing_key"

    def __init__(self, listing_key: str) -> None:
        super().__init__(f"several sources have a listing with the key {listing_key!r}")
        self.listing_key = listing_key

    @property
    def hint(self) -> str:
        return "say whose with --source"


class IdTaken(Conflict):
    """The id belongs to another platform"""

    code = "id_taken"

    def __init__(self, crm_id: str, platform: str) -> None:
        super().__init__(f"the id {crm_id!r} is held by a property of the platform {platform!r}")
        self.crm_id, self.platform = crm_id, platform


class SourceExists(Conflict):
    """There is a source with this name already"""

    code = "source_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"a source is called {name!r} already")
        self.name = name

    @property
    def hint(self) -> str:
        return f"`mls-crm-sync sources change {self.name}` changes it"


class HoldDecided(Conflict):
    """Somebody has decided otherwise"""

    code = "hold_decided"

    def __init__(self, hold_id: int, decision: str) -> None:
        super().__init__(f"the listings held under the id {hold_id} are {decision} already")
        self.hold_id, self.decision = hold_id, decision


class AlreadyRunning(Conflict):
    """A run of it is under way"""

    code = "already_running"

    def __init__(self, job_id: str, run_id: int) -> None:
        super().__init__(f"run {run_id} of the schedule {job_id!r} has not ended yet")
        self.job_id, self.run_id = job_id, run_id

    @property
    def hint(self) -> str:
        return f"`mls-crm-sync runs show {self.run_id}` says how far it is, `runs cancel {self.run_id}` ends it"


class NothingToRead(Conflict):
    """There is nothing that a run could read"""

    def __init__(self, reason: str, detail: str) -> None:
        """`reason` is a stable word: `nothing_active`, `no_source`, `no_location`, `nothing_failed`."""
        super().__init__(detail)
        self.reason = self.code = reason


class RunEnded(Conflict):
    """The run has ended"""

    code = "run_ended"

    def __init__(self, run_id: int, status: str) -> None:
        super().__init__(f"run {run_id} is {status}")
        self.run_id, self.status = run_id, status


class ScheduleExists(Conflict):
    """There is a schedule with this id already"""

    code = "schedule_exists"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"a schedule has the id {job_id!r} already")
        self.job_id = job_id


class NoProposal(Conflict):
    """Nothing is proposed of the CRM property"""

    code = "no_proposal"

    def __init__(self, crm_id: str) -> None:
        super().__init__(f"CRM property {crm_id!r} is not active, or its listing is not over")
        self.crm_id = crm_id

    @property
    def hint(self) -> str:
        return "`mls-crm-sync proposals list` shows what is proposed now"


class InvalidInput(Refused):
    """The input is not valid"""

    code = "invalid_input"

    def __init__(self, member: str, detail: str) -> None:
        super().__init__(f"{member}: {detail}")
        self.member, self.detail = member, detail


class RecordRejected(SyncError):
    """The record cannot be read"""

    code = "record_rejected"

    def __init__(self, reason: str, detail: str, *, field: str | None = None) -> None:
        """`reason` is a stable word (`not_json`, `missing_key`, `bad_value` ...), `detail` is for people."""
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.field = reason, detail, field


class SourceBroken(SyncError):
    """The delivery cannot be read to its end"""

    code = "source_broken"
    outcome: ClassVar[Literal["broken", "partial", "blocked", "refused", "rate_limited", "unavailable"]] = "broken"
    """How the pass ended: the word of `sources.base.PassOutcome`."""

    def __init__(self, reason: str, detail: str, *, hint: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
        self._hint = hint

    @property
    def hint(self) -> str | None:
        return self._hint


class SourcePartial(SourceBroken):
    """The source ended before its end"""

    code = "source_partial"
    outcome = "partial"


class SourceBlocked(SourceBroken):
    """The answer is not the source's"""

    code = "source_blocked"
    outcome = "blocked"


class SourceRefused(SourceBroken):
    """The source does not let us in"""

    code = "source_refused"
    outcome = "refused"


class RateLimited(SourceBroken):
    """The source asks us to slow down"""

    code = "rate_limited"
    outcome = "rate_limited"


class SourceUnavailable(SourceBroken):
    """The source does not answer"""

    code = "source_unavailable"
    outcome = "unavailable"


class RunLost(SyncError):
    """The run was given to somebody else or cancelled"""

    code = "run_lost"

    def __init__(self, run_id: int) -> None:
        super().__init__(f"run {run_id} is no longer ours; nothing more was written")
        self.run_id = run_id


class ShareFailed(SyncError):
    """A process of the ingest could not read its share to the end"""

    code = "share_failed"

    @property
    def hint(self) -> str:
        return "what was stored stays; run the same ingest again, and what is in already costs little"


class StoreUnavailable(SyncError):
    """The database cannot be used right now"""

    code = "store_unavailable"


class SetupError(SyncError):
    """The installation needs attention"""

    code = "setup"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self._hint = hint

    @property
    def hint(self) -> str | None:
        return self._hint


class SecretSealed(SetupError):
    """The source's secret cannot be opened here"""

    code = "secret_sealed"

    def __init__(self, source: str) -> None:
        super().__init__(
            f"the secret of source {source!r} was sealed with a key that this process does not have",
            hint="give it the key with MLS_CRM_SYNC_SECRET_KEY_FILE, or seal the secret anew with `sources change`",
        )
