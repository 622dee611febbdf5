"""Every metric of the worker, declared once: what it says, and what to do when it moves.

`tidegate metrics` prints it; `deploy/README.md` has the table that is made from it. Labels are bounded sets: topics,
partitions, reasons, segments and sequences up to TIDEGATE_METRICS_SEGMENTS each (the rest is `other`), never a contact.
"""

from schemas.rejected import Reason
from schemas.topics import SOURCES
from streams.instruments import Metric

OTHER = "other"
# what the watchdog tells apart (watchdog.py)
PROBLEMS = ("assignment", "recovery", "reading", "position", "commit")
RESULTS = ("committed", "aborted", "fenced")
_TOPICS = tuple((topic.name,) for topic in SOURCES)
_STEP_S = (5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 5e-3, 25e-3)
_SOON_S = (0.01, 0.02, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 3600.0)
_CHECKPOINT_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0)
_TAKEOVER_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 180.0)
_LOOP_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0)

EVENTS = (
    Metric("events_taken", "counter", "records", "source records taken, rejected ones and ticks among them",
           "still, with lag: see `tidegate_stalled_seconds`", ("topic",), known=_TOPICS),
    Metric("events_rejected", "counter", "records", "records that could not be taken",
           "`tidegate rejected list` has the sentence of each reason", ("reason",), known=tuple((str(r),) for r in Reason)),
    Metric("events_duplicate", "counter", "events", "events known by their messageId",
           "many: a publisher repeats itself; harmless"),
    Metric("events_late", "counter", "events", "events that happened before the contact's clock",
           "many: raise TIDEGATE_GRACE or mend a publisher"),
    Metric("events_late_read", "counter", "events", "events read after time was played past their arrival",
           "many: raise TIDEGATE_SLACK, or see `tidegate_clock_skew_seconds`"),
    Metric("links_left", "counter", "events", "identify events with two ids that were taken without linking them",
           "links come with a later version"),
    Metric("limits_passed", "counter", "limits", "limits that a contact passed, so that the oldest of something was dropped",
           "`tidegate explain` says whose; raise TIDEGATE_LIMIT_…"),
)  # fmt: skip
OUTPUT = (
    Metric("transitions_emitted", "counter", "transitions", "transitions, before their checkpoint is committed",
           "none for long: are events of the segment's names still coming?", ("segment", "transition", "cause")),
    Metric("segment_members", "gauge", "memberships", "memberships of the partitions owned here; missing while "
           "`tidegate_segment_members_uncounted` isn't 0",
           "falling without a reason: a publisher stopped sending, or a definition was edited", ("segment",)),
    Metric("segment_members_uncounted", "gauge", "contacts", "contacts taken over whose memberships are still to be counted",
           "not falling for minutes: the worker has no time for it, see `tidegate_turn_seconds_total`"),
    Metric("deliveries_emitted", "counter", "deliveries", "deliveries asked for by rules and sequences",
           "`tidegate deliveries list` says what became of them"),
    Metric("deliveries_skipped", "counter", "deliveries", "deliveries that rules and sequences left out",
           "`tidegate tail outcomes` says why"),
    Metric("sequence_events", "counter", "entries", "entries of sequences, by what they said: entered, converted, exited, "
           "completed", "none entered for long: are contacts still entering the sequence's segment?", ("sequence", "event")),
    Metric("sequence_exits", "counter", "entries", "entries that ended early, by reason",
           "`loop`, `version`, `no_date`: the sequence ends for contacts that it was meant to lead on", ("sequence", "reason")),
    Metric("sequence_skipped", "counter", "messages", "messages that sequences left out, and transitions that began nothing, by "
           "code", "`tidegate sequences report` says at which step; `tidegate tail outcomes` says why", ("sequence", "code")),
    Metric("timers_played", "counter", "contacts", "contacts whose due instant came without an event of theirs",
           "a peak at midnight is usual where definitions have calendar days"),
)  # fmt: skip
WORK = (
    Metric("evaluation_seconds", "histogram", "seconds",
           "time to take one event, decoding included; each event of a turn counts as its average",
           "rising: an event touches more segments, or contacts keep more; add workers", buckets=_STEP_S),
    Metric("end_to_end_seconds", "histogram", "seconds",
           "from an event's record time to the commit of what it caused; of a turn, the oldest event's; holds the clock skew",
           "rising: see lag, then checkpoints", buckets=_SOON_S),
    Metric("timer_lag_seconds", "histogram", "seconds", "from a due instant and its grace to the commit of what it caused",
           "rising: more is due than can be played; add workers", buckets=_SOON_S),
    Metric("turn_seconds", "counter", "seconds", "time spent applying",
           "above 0.5 a second: add a worker, as checkpoints and Kafka's clients take the rest"),
    Metric("loop_lag_seconds", "histogram", "seconds", "how late the event loop wakes what asked to be woken",
           "above 0.1 s often: the machine has too few cores, or one step takes long", buckets=_LOOP_S),
    Metric("checkpoint_seconds", "histogram", "seconds", "from the start of a checkpoint to its commit: a Kafka transaction",
           "rising: the broker is slow, and latency rises with it", buckets=_CHECKPOINT_S),
    Metric("checkpoint_records", "counter", "records", "records written by checkpoints",
           "what the broker has to store", ("topic",)),
    Metric("transactions", "counter", "transactions", "checkpoints by what became of them",
           "aborted: the broker refused one, the worker starts again; fenced: another worker has taken over",
           ("result",), known=tuple((result,) for result in RESULTS)),
    Metric("commit_age_seconds", "gauge", "seconds", "age of the oldest change that isn't committed",
           "above 5 s: the broker doesn't take checkpoints; see `tidegate_checkpoint_seconds`"),
)  # fmt: skip
PARTITIONS = (
    Metric("partitions", "gauge", "partitions", "partitions of each topic (TIDEGATE_PARTITIONS)", "never moves"),
    Metric("partitions_owned", "gauge", "partitions", "partitions of this worker",
           "0 for long: more workers than partitions, or see `tidegate_stalled_seconds{problem=\"assignment\"}`"),
    Metric("partitions_stopped", "gauge", "partitions", "partitions that take nothing in, as records made the code raise",
           "the log names the record; roll the definitions back, or start a version that can take it"),
    Metric("contacts_quarantined", "gauge", "contacts", "contacts that take nothing in, as their state or timer can't be taken",
           "the log has the error; their events are in `rejected` as `quarantined`"),
    Metric("assigned", "gauge", "0 or 1", "whether the group has given this worker its share (which may be none)",
           "0 for longer than a rebalance: the broker refuses the group, the log says why"),
    Metric("rebalances", "counter", "rebalances", "assignments that were taken over",
           "many: workers come and go, or miss TIDEGATE_SESSION"),
    Metric("takeover_seconds", "histogram", "seconds", "from an assignment to reading on",
           "rising: state has grown, or the broker is slow", buckets=_TAKEOVER_S),
    Metric("recovering", "gauge", "0 or 1", "whether a take-over is under way", "see `tidegate_recovery_records_total`"),
    Metric("recovery_records", "counter", "records", "state records read by take-overs",
           "still, while recovering: the state topic has no leader, or the broker is away"),
    Metric("recovery_partitions_left", "gauge", "partitions", "partitions whose state is not read to its end yet",
           "not falling while recovering: as above"),
    Metric("contacts", "gauge", "contacts", "state records of the partitions owned here", "grows with your contacts"),
    Metric("state_bytes", "gauge", "bytes", "their bytes", "see `tidegate_state_memory_bytes`"),
    Metric("lag_records", "gauge", "records", "source records not applied yet", "rising: add a worker",
           ("topic", "partition")),
    Metric("state_memory_bytes", "gauge", "bytes", "memory that contacts' state takes, estimated",
           "near `tidegate_state_memory_limit_bytes`: start another worker; beyond it no more events are read"),
    Metric("state_memory_limit_bytes", "gauge", "bytes", "TIDEGATE_MEMORY_BYTES", "never moves"),
    Metric("held_bytes", "gauge", "bytes", "read ahead and not applied yet", "bounded; high: see lag"),
    Metric("timer_overdue_seconds", "gauge", "seconds", "how late the oldest due instant is",
           "rising: more is due than can be played, or events from before it still wait or can't be read"),
    Metric("definitions_revision", "gauge", "revision", "lowest revision of the definitions in force in a partition here",
           "below `tidegate_definitions_revision_newest` for minutes: see `tidegate_contacts_to_change`"),
    Metric("definitions_revision_newest", "gauge", "revision", "newest revision of the definitions that this worker has read",
           "other than elsewhere for minutes: the log says why it can't read the definitions"),
    Metric("contacts_to_change", "gauge", "contacts", "contacts still to be taken over into that revision",
           "not falling: see checkpoints"),
)  # fmt: skip
SURROUNDINGS = (
    Metric("clock_skew_seconds", "gauge", "seconds",
           "this machine's clock less the broker's, from the freshest record of the last minute; NaN without one",
           "beyond a second: mend NTP on the broker or here"),
    Metric("broker_unanswered_seconds", "gauge", "seconds", "how long ago the broker answered last",
           "above 10: it is away, or the network to it"),
    Metric("surroundings_problems", "gauge", "problems", "what about topics and brokers no worker would start with any more",
           "the log has a sentence for each"),
    Metric("stalled_seconds", "gauge", "seconds", "for how long something has not moved that should, while the broker answers",
           "the log says what; at TIDEGATE_STALL_EXIT the worker ends for its supervisor", ("problem",),
           known=tuple((problem,) for problem in PROBLEMS)),
)  # fmt: skip
METRICS = (*EVENTS, *OUTPUT, *WORK, *PARTITIONS, *SURROUNDINGS)
