{{- define "fedcore.name" -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- end }}

{{- define "fedcore.selector" -}}
app.kubernetes.io/name: fedcore
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "fedcore.labels" -}}
{{ include "fedcore.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "fedcore.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "fedcore.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end -}}
{{- end }}

{{- /* The same for every release: who installs anew, under whatever name, goes on with the authority that running jobs trust. */ -}}
{{- define "fedcore.caSecret" -}}
{{- .Values.ca.existingSecret | default "fedcore-ca" -}}
{{- end }}

{{- /* A list: image values, the chart's appVersion. */ -}}
{{- define "fedcore.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ $image.tag | default (index . 1) }}{{ end -}}
{{- end }}

{{- /* What the operator may do wherever it serves jobs: operator/fedcore_operator/io/rights.py has the same list. */ -}}
{{- define "fedcore.rules" -}}
- {apiGroups: [fedcore.dev], resources: [federatedjobs], verbs: [get, list, watch, delete]}
- {apiGroups: [fedcore.dev], resources: [federatedjobs/status], verbs: [patch]}
- {apiGroups: [fedcore.dev], resources: [federatedjobs/finalizers], verbs: [update]}
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [""], resources: [services], verbs: [get, create, patch]}
- {apiGroups: [""], resources: [persistentvolumeclaims], verbs: [get, create]}
- {apiGroups: [""], resources: [secrets], verbs: [create]}
- {apiGroups: [policy], resources: [poddisruptionbudgets], verbs: [get, create, patch]}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [get, create, patch]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
{{- end }}

{{- /* A list: the context, auto, always or never, a kind of the Prometheus operator. "true" or nothing. */ -}}
{{- define "fedcore.renders" -}}
{{- $has := (index . 0).Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" (index . 2)) -}}
{{- if or (eq (index . 1) "always") (and (eq (index . 1) "auto") $has) }}true{{ end -}}
{{- end }}

{{- define "fedcore.monitoringLabels" -}}
{{- merge (include "fedcore.labels" . | fromYaml) (.Values.monitoring.labels | default dict) | toYaml -}}
{{- end }}

{{- define "fedcore.pod" -}}
serviceAccountName: {{ include "fedcore.serviceAccount" . | quote }}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "fedcore.container" -}}
image: {{ include "fedcore.image" (list .Values.image .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - {name: HOME, value: /tmp}
  - {name: FEDCORE_OPERATOR_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
  - {name: FEDCORE_OPERATOR_POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  - {name: FEDCORE_BIND_ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: FEDCORE_NAMESPACES, value: {{ join "," .Values.namespaces | quote }}}
  - {name: FEDCORE_CA_SECRET, value: {{ include "fedcore.caSecret" . | quote }}}
  - {name: FEDCORE_COORDINATOR_IMAGE, value: {{ include "fedcore.image" (list .Values.jobs.coordinatorImage .Chart.AppVersion) | quote }}}
  - {name: FEDCORE_COORDINATOR_PULL_POLICY, value: {{ .Values.jobs.coordinatorImage.pullPolicy }}}
  - {name: FEDCORE_WORKER_IMAGE, value: {{ include "fedcore.image" (list .Values.jobs.workerImage .Chart.AppVersion) | quote }}}
  - {name: FEDCORE_WORKER_PULL_POLICY, value: {{ .Values.jobs.workerImage.pullPolicy }}}
  - {name: FEDCORE_IMAGE_PULL_SECRETS, value: "{{ range $i, $secret := .Values.imagePullSecrets }}{{ if $i }},{{ end }}{{ $secret.name }}{{ end }}"}
  - {name: FEDCORE_NETWORK_POLICY, value: {{ .Values.jobs.networkPolicy.enabled | quote }}}
  - {name: FEDCORE_WORKER_EGRESS, value: {{ .Values.jobs.networkPolicy.workerEgress | default list | toJson | quote }}}
  - {name: FEDCORE_METRICS_MONITORED, value: {{ include "fedcore.renders" (list . .Values.monitoring.monitors "PodMonitor") | default "false" | quote }}}
  - {name: FEDCORE_MONITORING_FROM, value: {{ .Values.monitoring.from | default list | toJson | quote }}}
  - {name: FEDCORE_PROGRESS_POLL_SECONDS, value: {{ .Values.progress.pollSeconds | quote }}}
  - {name: FEDCORE_LOG_LEVEL, value: {{ .Values.log.level }}}
  - {name: FEDCORE_LOG_FORMAT, value: {{ .Values.log.format }}}
{{- end }}
