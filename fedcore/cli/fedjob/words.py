"""What every reason means, in plain words, and what to do about it. The operator's words are API; a test holds these tables to them.

In ``do``, ``{job}`` and ``{n}`` are the job's name and ``-n NAMESPACE``.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CONDITIONS", "ENDS", "EXITS", "EXIT_CODES", "WAITS", "Words"]


@dataclass(frozen=True, slots=True)
class Words:
    """What a reason means, a part of a sentence without its full stop, and what to do."""

    say: str
    do: str = ""


_LOOK_AT_WORKERS = "read what the workers said, `kubectl fedjob logs {job} --role worker {n}`"
_LOOK_AT_COORDINATOR = "read what the coordinator said, `kubectl fedjob logs {job} --role coordinator {n}`"
_AGAIN = "a job that has ended stays so: delete it and apply it again"
_IMAGE = "correct workers.image or coordinator.image, or let the nodes pull it (imagePullSecrets of the chart, rights of the registry)"

ENDS = {
    "Completed": Words("all rounds are done"),
    "CheckpointFailed": Words(
        "the coordinator could not write a version of the model to its volume; the last one written is intact",
        "make room on the volume or ask for a larger one in coordinator.checkpoint; " + _AGAIN,
    ),
    "DeadlineExceeded": Words(
        "the job ran longer than activeDeadlineSeconds allows",
        "raise activeDeadlineSeconds, lower rounds, or give the workers more CPU; " + _AGAIN,
    ),
    "StartupDeadlineExceeded": Words(
        "too few workers came before startupDeadlineSeconds had passed",
        "mend what kept them, or raise startupDeadlineSeconds if nodes take their time; " + _AGAIN,
    ),
    "NonRetryableExit": Words(
        "a process ended in a way that another start would only repeat, such as a task that cannot be imported or a wrong parameter",
        "correct task.entrypoint, task.parameters or the image; " + _LOOK_AT_WORKERS + "; " + _AGAIN,
    ),
    "CoordinatorFailed": Words(
        "the coordinator failed more often than coordinator.maxRestarts allows",
        _LOOK_AT_COORDINATOR + "; if it ran out of memory, raise its memory in coordinator.template; " + _AGAIN,
    ),
    "InternalError": Words(
        "the coordinator met a state that must not be, which is a bug of FedCore; it did not go on, so the last version is right",
        "keep `kubectl fedjob logs {job} --role coordinator {n}` and report it",
    ),
    "QuorumLost": Words(
        "too few workers answered for longer than quorum.lossGracePeriodSeconds",
        "find out where the workers were, `kubectl get pods -l fedcore.dev/job={job} {n}`; raise lossGracePeriodSeconds if such gaps are "
        "normal, or lower quorum.percent; " + _AGAIN,
    ),
    "QuorumUnreachable": Words(
        "so many workers were given up that no round could have its quorum again",
        _LOOK_AT_WORKERS + "; then raise workers.maxRestartsPerWorker or lower quorum.percent if losses are normal; " + _AGAIN,
    ),
    "Interrupted": Words("it was interrupted from outside and may go on", "apply it again"),
}
"""By `fedcore.engine.reasons.EndReason`."""

CONDITIONS = {
    "Valid": Words("the API server takes its pods"),
    "ValidNotDryRun": Words("its pods could not be tried beforehand, since a webhook of this cluster allows no dry run"),
    "InvalidJob": Words(
        "its fields contradict each other, so it does not start",
        "correct the field and apply the job again: it starts by itself, nothing has to be deleted",
    ),
    "InvalidPodTemplate": Words(
        "a pod template or a field of the pods is wrong, so it does not start",
        "correct the template and apply the job again: it starts by itself, nothing has to be deleted",
    ),
    "PodForbidden": Words(
        "this namespace does not allow its pods (pod security, a quota or a policy), so it does not start",
        "change the template, or ask who owns the namespace; the operator tries again by itself",
    ),
    "NameConflict": Words(
        "an object that belongs to somebody else has a name that this job needs",
        "delete that object, or give the job another name",
    ),
    "Suspended": Words(
        "it is suspended: its pods are deleted, its state and counters are kept",
        '`kubectl patch fj {job} {n} --type=merge -p \'{{"spec":{{"suspend":false}}}}\'` lets it go on',
    ),
    "Resumed": Words("it was resumed and goes on with the round after its newest checkpoint"),
    "Ready": Words("the coordinator serves"),
    "Starting": Words("the coordinator starts"),
    "Restarting": Words("the coordinator ended and is started again", _LOOK_AT_COORDINATOR + " (with --previous for the attempt before)"),
    "Unschedulable": Words(
        "no node takes the pod of the coordinator",
        "make room, or lower what the pod asks for; nodeSelector, tolerations and the zone of its volume count too; a cluster that grows "
        "by itself may only need a minute",
    ),
    "ImagePullFailed": Words("the node cannot get the image of the coordinator", _IMAGE),
    "PodCreateFailed": Words(
        "the API server refused the coordinator's pod",
        "look at quotas and policies of the namespace, `kubectl describe quota {n}`; the operator tries again every 30 s",
    ),
    "Finished": Words("the job has ended"),
    "Enough": Words("enough workers take part"),
    "BelowQuorum": Words("there are not enough workers for a round"),
    "NotStarted": Words("it has not started"),
    "CoordinatorUnreachable": Words(
        "the operator gets no answer from the coordinator, so it cannot say how training goes; training itself may well go on",
        _LOOK_AT_COORDINATOR + "; a network policy may keep the operator from port 9464",
    ),
}
"""By the operator's `Reason`, of conditions that do not end a job."""

WAITS = {
    "ImagePullFailed": Words("the image cannot be pulled", _IMAGE),
    "Unschedulable": Words(
        "no node takes the pod",
        "make room or lower what the pods ask for; nodeSelector, tolerations and volumes count too; a cluster that grows by itself may "
        "only need a minute",
    ),
    "SchedulingGated": Words("another controller, such as Kueue, holds the pod back", "look at its queue"),
    "CreateContainerConfigError": Words(
        "a ConfigMap or Secret that the template names is not there", "create it, or correct its name; the pod then starts by itself"
    ),
    "CreateContainerError": Words("the node cannot make the container", "correct command, mounts or devices in the template"),
    "RunContainerError": Words("the container does not start", "correct the command in the template"),
    "CrashLoopBackOff": Words(
        "an init container or sidecar of the template fails again and again", "read its log, `kubectl logs POD -c CONTAINER {n}`"
    ),
    "FailedMount": Words("a volume cannot be mounted", "look at the claim and its driver, `kubectl describe pvc {n}`"),
    "FailedAttachVolume": Words(
        "a volume cannot be attached to the node", "it may still hang at a lost node: delete that node's object once it is really off"
    ),
    "FailedCreatePodSandBox": Words("the node cannot give the pod a network", "look at the node and its network plugin"),
}
"""By what a pod waits for: a word of Kubernetes, or the reason of its newest warning."""

EXITS = {
    "OOMKilled": Words(
        "ran out of memory", "raise the memory limit in the template (workers.template, coordinator.template), or lower the batch size"
    ),
    "Error": Words("ended with an error"),
    "Completed": Words("ended by itself"),
    "ContainerCannotRun": Words("could not be started", "correct the command in the template"),
    "StartError": Words("could not be started", "correct the command in the template"),
    "Evicted": Words(
        "was evicted by its node, which ran short of memory or disk",
        "ask for what the pod needs (resources.requests), ephemeral-storage too",
    ),
    "NodeLost": Words("was on a node that no longer answers"),
    "NodeShutdown": Words("was on a node that was shut down"),
    "Terminated": Words("was on a node that was shut down"),
    "Shutdown": Words("was on a node that was shut down"),
    "Preempting": Words("had to make room for a more important pod", "give the job a priorityClassName"),
    "Deleted": Words("was deleted"),
    "PreemptionByScheduler": Words("had to make room for a more important pod", "give the job a priorityClassName"),
    "DeletionByTaintManager": Words("was on a node that was lost or tainted"),
    "EvictionByEvictionAPI": Words("was evicted, as by a drain"),
    "DeletionByPodGC": Words("was on a node that is no more"),
    "TerminationByKubelet": Words("was ended by its node"),
    "DisruptionTarget": Words("was ended by the cluster"),
    "DeadlineExceeded": Words("reached the activeDeadlineSeconds of its pod"),
    "Failed": Words("ended before it ran"),
    "stopped": Words("was told that the job is over"),
    "retired": Words("was told that the job goes on with fewer workers"),
    "left": Words("was asked to end from outside"),
    "replaced": Words("was replaced by a later attempt"),
    "name_in_use": Words("found its name in use by an earlier attempt"),
    "unauthorized": Words(
        "was refused by the coordinator for its token or certificate",
        "somebody has changed the job's Secret or the authority behind it: delete the job and apply it again, it gets new ones",
    ),
    "invalid": Words("cannot work as it is: entrypoint, parameters or options are wrong"),
    "unreachable": Words("could not reach the coordinator", "look for a network policy between workers and port 8470 of the coordinator"),
    "crashed": Words("crashed", _LOOK_AT_WORKERS),
    "InvalidJob": Words("cannot work as it is: the job or its options are wrong"),
    "RunDirectoryLocked": Words("found its run directory in use by its predecessor"),
    "CheckpointFailed": Words("could not write to its volume", "make room on the volume"),
}
"""By how an attempt ended: the process's word, or that of Kubernetes."""

EXIT_CODES = {
    0: "it ended by itself",
    1: "it failed",
    2: "it cannot work as it is, and another start would not help",
    3: "it was told that the quorum is lost",
    4: "it could not reach the coordinator",
    126: "its command cannot be executed",
    127: "its command is not in the image",
    134: "it aborted itself (SIGABRT)",
    137: "it was killed (SIGKILL), for memory or when its time to end was up",
    139: "it crashed (SIGSEGV)",
    143: "it was asked to end (SIGTERM)",
}
"""What exit codes mean."""
