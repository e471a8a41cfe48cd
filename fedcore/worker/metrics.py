"""What a worker exports, for a site's own Prometheus. Off unless asked for: a thousand of them repeat what the coordinator says."""

from __future__ import annotations

from fedcore.metrics import BUILD_INFO, ROUNDS, Label, counter, gauge, histogram
from fedcore.wire.methods import METHOD_LABELS

TRAIN = histogram("fedcore_worker_train_seconds", "Local training per finished task", ROUNDS)
LOCAL_EPOCHS = counter("fedcore_worker_local_epochs_total", "Epochs trained, fractions included")
TASKS = counter("fedcore_worker_tasks_total", "Train tasks by how they ended", Label("result", ("submitted", "superseded", "failed")))
RPC_ATTEMPTS = counter(
    "fedcore_worker_rpc_attempts_total",
    "Calls to the coordinator: answered, without a useful answer so that another attempt may follow, refused",
    *(Label("method", METHOD_LABELS), Label("result", ("ok", "retry", "failed"), initial=("ok",))),
)
PAYLOAD = counter(
    "fedcore_worker_payload_bytes_total",
    "Body bytes of weights fetched and of updates sent whole, as seen by the worker",
    Label("direction", ("sent", "received")),
)
CONNECTED = gauge("fedcore_worker_connected", "1 while the worker holds a session, else 0")
TRAIN_LOSS = gauge("fedcore_worker_train_loss", "Training loss at the end of the last task")

CATALOGUE = (BUILD_INFO, TRAIN, LOCAL_EPOCHS, TASKS, RPC_ATTEMPTS, PAYLOAD, CONNECTED, TRAIN_LOSS)
