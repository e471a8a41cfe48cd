"""What the operator exports. Series of jobs carry the job's namespace and name, so they are scraped with ``honorLabels: true``."""

from __future__ import annotations

from fedcore.engine.reasons import EndReason
from fedcore.metrics import BUILD_INFO, OPERATIONS, Label, counter, gauge, histogram

_PHASES = ("Pending", "Suspended", "Starting", "Running", "Degraded", "Succeeded", "Failed")
_VERBS = ("get", "list", "create", "update", "patch", "delete")
_JOB = (Label("namespace"), Label("federatedjob"))
REASONS = tuple(str(reason) for reason in EndReason if reason is not EndReason.INTERRUPTED)
"""Reasons that a job can end with; one that was interrupted may go on, and on a cluster it does."""
_RESULT = Label("result", ("succeeded", "failed"))
_ROLE = Label("role", ("coordinator", "worker"))

RECONCILE_DURATION = histogram(
    "fedcore_operator_reconcile_duration_seconds", "One reconcile of one job", OPERATIONS, Label("result", ("done", "requeue", "error"))
)
RECONCILE_ERRORS = counter(
    "fedcore_operator_reconcile_errors_total",
    "Reconciles that were not carried through, by cause; conflict: somebody changed the job meanwhile, it is looked at again at once",
    Label("class", ("conflict", "throttled", "api", "timeout", "internal")),
)
QUEUE_DEPTH = gauge("fedcore_operator_queue_depth", "Keys that are due")
QUEUE_WAIT = histogram("fedcore_operator_queue_wait_seconds", "A key due until it is picked up", OPERATIONS)
LEADER = gauge("fedcore_operator_leader", "1 while this process holds the Lease, else 0")
KUBE_REQUESTS = counter(
    "fedcore_operator_kube_requests_total",
    "Calls to the Kubernetes API, watches left out; code 0: no answer",
    Label("verb", _VERBS),
    Label("code"),
)
KUBE_DURATION = histogram(
    "fedcore_operator_kube_request_duration_seconds", "Calls to the Kubernetes API, watches left out", OPERATIONS, Label("verb", _VERBS)
)
WATCH_LAST_EVENT = gauge(
    "fedcore_operator_watch_last_event_timestamp_seconds",
    "When the last item of a watch was seen, Unix time",
    Label("resource", ("federatedjobs", "pods")),
)
MISSED_EVENTS = counter(
    "fedcore_operator_missed_events_total",
    "Objects found by a LIST that no event had brought",
    Label("resource", ("federatedjobs", "pods")),
)
POLLS = counter(
    "fedcore_operator_progress_polls_total",
    "Polls of coordinators' /progress",
    Label("result", ("ok", "timeout", "refused", "invalid")),
)
EVENTS = counter("fedcore_operator_events_total", "Events posted", Label("type", ("Normal", "Warning")))

JOBS = gauge("fedcore_operator_jobs", "Jobs by phase", Label("namespace"), Label("phase", _PHASES))
JOBS_FINISHED = counter(
    "fedcore_operator_jobs_finished_total", "Jobs that this process saw finish", _RESULT, Label("reason", REASONS, initial=())
)
"""`runtime.meters` makes the series that can be: with Completed goes succeeded, with all other reasons failed."""
JOB_DURATION = histogram(
    "fedcore_operator_job_duration_seconds",
    "Start of a job until its end, with its coordinator's wait for the last scrape",
    (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400),
    _RESULT,
)
TIME_TO_FIRST_ROUND = histogram(
    "fedcore_operator_job_time_to_first_round_seconds",
    "Creation of a job until it has its quorum for the first time and round 1 opens; jobs that were never suspended",
    (1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600),
)
JOB_INFO = gauge("fedcore_operator_job_info", "Constant 1", *_JOB, Label("task"), Label("workload"))
JOB_PHASE = gauge("fedcore_operator_job_phase", "1 for the job's phase, else 0", *_JOB, Label("phase", _PHASES))
JOB_FINISHED = gauge("fedcore_operator_job_finished", "1 for the reason the job ended with; absent before", *_JOB, Label("reason", REASONS))
JOB_CURRENT_ROUND = gauge("fedcore_operator_job_current_round", "Round of the job, as in its status", *_JOB)
JOB_TARGET_ROUNDS = gauge("fedcore_operator_job_target_rounds", "Rounds asked for", *_JOB)
JOB_DESIRED_WORKERS = gauge("fedcore_operator_job_desired_workers", "workers.replicas of the job", *_JOB)
JOB_READY_WORKERS = gauge("fedcore_operator_job_ready_workers", "Workers whose pod is ready", *_JOB)
JOB_REQUIRED_WORKERS = gauge("fedcore_operator_job_required_workers", "Workers that make a quorum", *_JOB)
JOB_QUORUM_MET = gauge("fedcore_operator_job_quorum_met", "1 while the condition QuorumMet is True, else 0", *_JOB)
JOB_ACCURACY = gauge("fedcore_operator_job_accuracy_ratio", "Accuracy of the averaged model, as in the status; absent before", *_JOB)
JOB_LOSS = gauge("fedcore_operator_job_loss", "Loss of the averaged model, as in the status; absent before", *_JOB)
JOB_START = gauge("fedcore_operator_job_start_timestamp_seconds", "When the job started, Unix time; 0 before", *_JOB)
JOB_COMPLETION = gauge("fedcore_operator_job_completion_timestamp_seconds", "When the job ended, Unix time; 0 before", *_JOB)
JOB_PROGRESS = gauge("fedcore_operator_job_progress_timestamp_seconds", "When progress was last seen, Unix time; 0 before", *_JOB)
JOB_PODS = gauge(
    "fedcore_operator_job_pods",
    "Pods of the job",
    *(*_JOB, _ROLE, Label("phase", ("Pending", "Running", "Succeeded", "Failed", "Unknown"))),
)
JOB_RESTARTS = counter("fedcore_operator_job_restarts_total", "Restarts of the job's pods, from its status", *_JOB, _ROLE)
JOB_DISRUPTIONS = counter(
    "fedcore_operator_job_disruptions_total", "Pods lost through no fault of theirs, from the status; they cost no budget", *_JOB, _ROLE
)

COUNTED = (
    *(BUILD_INFO, RECONCILE_DURATION, RECONCILE_ERRORS, QUEUE_WAIT, KUBE_REQUESTS, KUBE_DURATION, WATCH_LAST_EVENT, POLLS, EVENTS),
    *(JOBS_FINISHED, JOB_DURATION, TIME_TO_FIRST_ROUND),
)
"""What the process counts as it goes."""
PER_JOB = (
    *(JOB_INFO, JOB_PHASE, JOB_FINISHED, JOB_CURRENT_ROUND, JOB_TARGET_ROUNDS, JOB_DESIRED_WORKERS, JOB_READY_WORKERS),
    *(JOB_REQUIRED_WORKERS, JOB_QUORUM_MET, JOB_ACCURACY, JOB_LOSS, JOB_START, JOB_COMPLETION, JOB_PROGRESS, JOB_PODS),
    *(JOB_RESTARTS, JOB_DISRUPTIONS),
)
"""Of each job, for as long as it exists."""
COMPUTED = (QUEUE_DEPTH, LEADER, MISSED_EVENTS, JOBS, *PER_JOB)
"""What is computed from the operator's memory when it is collected."""
CATALOGUE = (*COUNTED, *COMPUTED)
