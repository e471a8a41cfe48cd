"""What a coordinator exports. Every series carries ``federatedjob`` as well, which is added when they are collected."""

from __future__ import annotations

from fedcore.engine.reasons import EndReason, Outcome, Phase, Rejection, Result
from fedcore.metrics import BUILD_INFO, EPOCHS, OPERATIONS, ROUNDS, Label, counter, gauge, histogram
from fedcore.wire.methods import METHOD_LABELS, RPC_CODES

_ENDS = tuple(str(reason) for reason in EndReason if reason not in {EndReason.COORDINATOR_FAILED, EndReason.INTERRUPTED})
"""What a coordinator can give; the other two are words of its supervisor."""
_PHASES = tuple(str(phase) for phase in Phase if phase is not Phase.INTERRUPTED)
_CLOSED = (str(Outcome.FULL), str(Outcome.QUORUM))
_RESULTS = tuple(str(result) for result in Result)
_TRIP_RESULTS = (str(Result.ACCEPTED), str(Result.STALE), "superseded")
_REFUSALS = (
    *("unauthorized", "certificate", "too_large", "no_length", "gzip", "bad_xml", "unknown_method", "stalled", "incomplete", "busy"),
    "damaged",
)
_WORKER = Label("worker")

RUN_INFO = gauge(
    "fedcore_run_info",
    "Constant 1; one series per run",
    *(Label("run_id"), Label("task"), Label("workload"), Label("aggregation"), Label("tls")),
)
PHASE = gauge("fedcore_phase", "1 for the phase the job is in, else 0", Label("phase", _PHASES))
FINISHED = gauge("fedcore_finished", "1 for the reason the job ended with; all 0 before", Label("reason", _ENDS))
RUN_START = gauge("fedcore_run_start_timestamp_seconds", "When the run started first, Unix time")
RUN_END = gauge("fedcore_run_end_timestamp_seconds", "When the run ended, Unix time; 0 before")
CHECKPOINT_TIME = gauge("fedcore_checkpoint_timestamp_seconds", "When the last checkpoint became durable, Unix time; 0 before")
RESTARTS = gauge("fedcore_coordinator_restarts", "Times the run was resumed from a checkpoint")

CURRENT_ROUND = gauge("fedcore_current_round", "Number of the open round, else of the last one")
TARGET_ROUNDS = gauge("fedcore_target_rounds", "Rounds asked for")
ROUND_START = gauge("fedcore_round_start_timestamp_seconds", "When the open round opened, Unix time; 0 when none is open")
ROUND_TIMEOUT = gauge("fedcore_round_timeout_seconds", "quorum.roundTimeoutSeconds of the job")
ROUNDS_ENDED = counter(
    "fedcore_rounds_total",
    "Rounds ended: with all updates, with the quorum's, or open when the job ended",
    Label("outcome", tuple(str(outcome) for outcome in Outcome)),
)
ROUND_DURATION = histogram("fedcore_round_duration_seconds", "Opening of a round until its close", ROUNDS, Label("outcome", _CLOSED))
ROUND_OVERHEAD = histogram(
    "fedcore_round_overhead_seconds",
    "Opening of a round until the next opens, less the longest own work reported with an accepted update",
    OPERATIONS,
)
AGGREGATION = histogram("fedcore_aggregation_seconds", "Close of a round until the new version is written", OPERATIONS)
CHECKPOINT = histogram("fedcore_checkpoint_seconds", "New version written until it and the state are durable", OPERATIONS)

DECLARED_WORKERS = gauge("fedcore_declared_workers", "workers.replicas of the job")
REQUIRED_UPDATES = gauge("fedcore_quorum_required_updates", "Accepted updates that make a round's quorum")
ACCEPTED_UPDATES = gauge(
    "fedcore_quorum_accepted_updates", "Accepted updates of the open round, kept after its close; graph the last round's instead"
)
QUORUM_MET = gauge("fedcore_quorum_met", "1 while enough workers are live for a quorum, else 0")
QUORUM_LOST_TIME = gauge("fedcore_quorum_lost_timestamp_seconds", "Since when the quorum is lost, Unix time; 0 while it is met")
LOSS_GRACE = gauge("fedcore_quorum_loss_grace_seconds", "How long a lost quorum is waited for; 0 waits for ever")
QUORUM_WAIT = histogram(
    "fedcore_quorum_wait_seconds", "First accepted update of a round until the required one: what stragglers cost", ROUNDS
)
LAST_ACCEPTED = gauge("fedcore_last_round_accepted_updates", "Accepted updates of the last closed round")
LAST_PARTICIPANTS = gauge("fedcore_last_round_participants", "Participants of the last closed round")
LAST_STRAGGLERS = gauge("fedcore_last_round_stragglers", "Live participants without an accepted update when the last round closed")
LAST_SAMPLES = gauge("fedcore_last_round_samples", "Samples behind the accepted updates of the last closed round")

WORKERS = gauge("fedcore_workers", "Registered workers by state; live are training and idle", Label("state", ("training", "idle", "lost")))
REGISTRATIONS = counter(
    "fedcore_worker_registrations_total",
    "Registrations: of a new worker, of a higher attempt, of the same attempt with a new session",
    Label("kind", ("new", "restart", "reconnect")),
)
ROUND_TRIP = histogram(
    "fedcore_worker_round_trip_seconds",
    "Hand-out of a round's work until the last byte of the worker's update for it",
    ROUNDS,
    Label("result", _TRIP_RESULTS),
)
UPDATES = counter("fedcore_updates_total", "Updates submitted, by result; stale ones came late", Label("result", _RESULTS))
UPDATES_REJECTED = counter(
    "fedcore_updates_rejected_total",
    "Updates rejected, by the check they failed",
    Label("reason", tuple(str(reason) for reason in Rejection)),
)
STALENESS = histogram("fedcore_update_staleness_rounds", "Rounds behind on arrival, of stale updates", (1, 2, 3, 5, 10))
STRAGGLERS = counter("fedcore_stragglers_total", "Live participants without an accepted update at the close of a round")
WORKERS_LOST = counter("fedcore_workers_lost_total", "Live workers that missed three heartbeats")
DEADLINES_MISSED = counter("fedcore_quorum_deadlines_missed_total", "Round deadlines that passed below the quorum")
SAMPLES = counter("fedcore_samples_total", "Samples behind accepted updates")
ASSIGNED_EPOCHS = histogram("fedcore_assigned_epochs", "Work handed out, in epochs per task", EPOCHS)
ADJUSTMENTS = counter(
    "fedcore_workload_adjustments_total", "Changes made by the workload policy", Label("direction", ("increase", "decrease"))
)
PAYLOAD = counter(
    "fedcore_payload_bytes_total",
    "Body bytes of weights and updates, as seen by the coordinator",
    Label("direction", ("sent", "received")),
)
MODEL_BYTES = gauge("fedcore_model_bytes", "Size of one version of the model")
UPLOADS_IN_FLIGHT = gauge("fedcore_uploads_in_flight", "Uploads being received")
TRAIN_LOSS = gauge("fedcore_train_loss", "Sample-weighted training loss reported in the last closed round")

RPC_REQUESTS = counter(
    "fedcore_rpc_requests_total",
    "Requests answered; get_weights and put_upload are those of the HTTP data plane",
    *(Label("method", METHOD_LABELS), Label("code", RPC_CODES, initial=("ok",))),
)
RPC_DURATION = histogram(
    "fedcore_rpc_duration_seconds",
    "Handling time of a request, without the waiting of a long poll",
    OPERATIONS,
    Label("method", METHOD_LABELS),
)
REQUESTS_REFUSED = counter("fedcore_requests_refused_total", "Requests refused before dispatch, or broken off", Label("reason", _REFUSALS))

EVAL_ACCURACY = gauge("fedcore_eval_accuracy_ratio", "Sample-weighted accuracy of the averaged model")
EVAL_LOSS = gauge("fedcore_eval_loss", "Sample-weighted loss of the averaged model")
EVAL_VERSION = gauge("fedcore_eval_version", "The version that the evaluation metrics belong to")
EVAL_METRIC = gauge("fedcore_eval_metric", "Other numeric metrics of the task; a sum over it means nothing", Label("metric"))
TRACKER_ERRORS = counter("fedcore_tracker_errors_total", "Failed calls to a tracker", Label("tracker"))

SERIES_DROPPED = gauge("fedcore_worker_series_dropped", "Workers without series of their own")
WORKER_UP = gauge("fedcore_worker_up", "1 while the worker is live, else 0", _WORKER)
WORKER_LAST_SEEN = gauge("fedcore_worker_last_seen_timestamp_seconds", "When the worker was last heard of, Unix time", _WORKER)
WORKER_ROUND_TRIP = gauge("fedcore_worker_last_round_trip_seconds", "The worker's latest round trip", _WORKER)
WORKER_LAST_ROUND = gauge("fedcore_worker_last_accepted_round", "The last round the worker's update counted in", _WORKER)
WORKER_EPOCHS = gauge("fedcore_worker_assigned_epochs", "Epochs now assigned to the worker", _WORKER)
WORKER_SAMPLES = gauge("fedcore_worker_samples", "Samples the worker declares", _WORKER)

PER_WORKER = (WORKER_UP, WORKER_LAST_SEEN, WORKER_ROUND_TRIP, WORKER_LAST_ROUND, WORKER_EPOCHS, WORKER_SAMPLES)
"""Those of which only some workers have series when there are many."""
CATALOGUE = (
    *(BUILD_INFO, RUN_INFO, PHASE, FINISHED, RUN_START, RUN_END, CHECKPOINT_TIME, RESTARTS),
    *(CURRENT_ROUND, TARGET_ROUNDS, ROUND_START, ROUND_TIMEOUT, ROUNDS_ENDED, ROUND_DURATION, ROUND_OVERHEAD, AGGREGATION, CHECKPOINT),
    *(DECLARED_WORKERS, REQUIRED_UPDATES, ACCEPTED_UPDATES, QUORUM_MET, QUORUM_LOST_TIME, LOSS_GRACE, QUORUM_WAIT),
    *(LAST_ACCEPTED, LAST_PARTICIPANTS, LAST_STRAGGLERS, LAST_SAMPLES),
    *(WORKERS, REGISTRATIONS, ROUND_TRIP, UPDATES, UPDATES_REJECTED, STALENESS, STRAGGLERS, WORKERS_LOST, DEADLINES_MISSED, SAMPLES),
    *(ASSIGNED_EPOCHS, ADJUSTMENTS, PAYLOAD, MODEL_BYTES, UPLOADS_IN_FLIGHT, TRAIN_LOSS),
    *(RPC_REQUESTS, RPC_DURATION, REQUESTS_REFUSED),
    *(EVAL_ACCURACY, EVAL_LOSS, EVAL_VERSION, EVAL_METRIC, TRACKER_ERRORS, SERIES_DROPPED),
    *PER_WORKER,
)
