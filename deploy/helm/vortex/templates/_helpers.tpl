{{- define "vortex.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "vortex.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "vortex.labels" -}}
{{ include "vortex.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{- define "vortex.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "vortex.fullname" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "vortex.image" -}}
{{- $repository := required "image.repository: where you pushed the image" .Values.image.repository }}
{{- if .Values.image.digest }}{{ printf "%s@%s" $repository .Values.image.digest }}
{{- else }}{{ printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}{{ end }}
{{- end }}

{{- /* The settings file. JSON's strings, numbers, booleans and lists are TOML's, too. */ -}}
{{- define "vortex.toml" -}}
{{- range $section, $keys := .Values.settings }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}

{{- define "vortex.mode" -}}
{{ dig "coordination" "mode" "local" .Values.settings }}
{{- end }}

{{- /* Not empty where there are times without a pod. */ -}}
{{- define "vortex.sleeps" -}}
{{- if .Values.keda.enabled }}{{ if eq (int .Values.keda.minReplicas) 0 }}true{{ end }}
{{- else if not .Values.autoscaling.enabled }}{{ if eq (int .Values.replicas) 0 }}true{{ end }}{{ end }}
{{- end }}

{{- define "vortex.drainSchedule" -}}
{{ default "15 * * * *" .Values.drain.schedule }}
{{- end }}

{{- define "vortex.port" -}}
{{ dig "http" "port" 9400 .Values.settings | int }}
{{- end }}

{{- /* Bytes of a size such as "512MiB", "2GB" or a number of bytes: (list SIZE UNITS). */ -}}
{{- define "vortex.bytes" -}}
{{- $size := first . }}
{{- $text := kindIs "float64" $size | ternary (int64 $size) $size | toString | trim | upper }}
{{- mulf (regexFind "^[0-9]+([.][0-9]+)?" $text | float64) (get (last .) (regexFind "[A-Z]*$" $text)) | int64 }}
{{- end }}

{{- /* Bytes of the lines of a process, as with memory.limit "auto", or its share of a limit in bytes. */ -}}
{{- define "vortex.limit" -}}
{{- $figures := .Files.Get "files/figures.json" | fromJson }}
{{- $settings := .Values.settings }}
{{- $given := dig "memory" "limit" $figures.limit $settings }}
{{- if eq (toString $given) "auto" }}
{{- $every := include "vortex.ms" (list (dig "commit" "every" $figures.every $settings) $figures.durations) | int64 }}
{{- $period := include "vortex.ms" (list (include "vortex.period" .) $figures.durations) | int64 }}
{{- $most := include "vortex.bytes" (list (dig "commit" "max_bytes" $figures.max_bytes $settings) $figures.sizes) | int64 }}
{{- $gathered := min $most (div (mul (min $every $period) (int64 $figures.lines_s)) 1000) }}
{{- max (int64 $figures.least_auto) (mul (int64 .Values.shardsPerProcess) $gathered) }}
{{- else }}
{{- max (int64 $figures.least) (div (include "vortex.bytes" (list $given $figures.sizes) | int64) (int64 .Values.processes)) }}
{{- end }}
{{- end }}

{{- /* publish.period: that of the preset where it is not set, or set to the default. */ -}}
{{- define "vortex.period" -}}
{{- $figures := .Files.Get "files/figures.json" | fromJson }}
{{- $given := dig "publish" "period" (first $figures.period) .Values.settings }}
{{- $fast := and (eq (dig "publish" "preset" "" .Values.settings) "fast") (eq $given (first $figures.period)) }}
{{- $fast | ternary (last $figures.period) $given }}
{{- end }}

{{- /* MiB of a pod. files/figures.json has the figures of vortex/core/memory.py, in bytes: docs/how-to/size.md. */ -}}
{{- define "vortex.memory" -}}
{{- $figures := .Files.Get "files/figures.json" | fromJson }}
{{- $processes := int64 .Values.processes }}
{{- $keys := include "vortex.bytes" (list (dig "memory" "keys" $figures.keys .Values.settings) $figures.sizes) | int64 }}
{{- $share := include "vortex.limit" . | trim | int64 }}
{{- $room := max (int64 $figures.room_least) (min (int64 $figures.room_most) (div $share (int64 $figures.room_share))) }}
{{- $filter := mul (int64 .Values.shardsPerProcess) (int64 $figures.filter) }}
{{- $bytes := mul $processes (add (int64 $figures.process) $share $room (int64 $figures.pages) $keys $filter) }}
{{- if gt $processes 1 }}{{ $bytes = add $bytes (int64 $figures.supervisor) }}{{ end }}
{{- div (add $bytes 1048575) 1048576 }}
{{- end }}

{{- /* The size of /tmp: what each process may spill, and its socket. */ -}}
{{- define "vortex.scratch" -}}
{{- $figures := .Files.Get "files/figures.json" | fromJson }}
{{- $each := include "vortex.bytes" (list (dig "publish" "scratch" $figures.scratch .Values.settings) $figures.sizes) | int64 }}
{{- printf "%dMi" (add 256 (div (mul $each (int64 .Values.processes)) 1048576)) }}
{{- end }}

{{- /* Milliseconds of a duration such as "25s" or "1m30s": (list DURATION UNITS). A number is one of milliseconds. */ -}}
{{- define "vortex.ms" -}}
{{- $units := last . }}
{{- $total := kindIs "string" (first .) | ternary 0 (first .) | float64 }}
{{- if kindIs "string" (first .) }}
{{- range regexFindAll "[0-9]+([.][0-9]+)?\\s*[a-z]+" (first .) -1 }}
{{- $total = addf $total (mulf (regexFind "^[0-9.]+" . | float64) (get $units (regexFind "[a-z]+$" .))) }}
{{- end }}
{{- end }}
{{- int64 $total }}
{{- end }}

{{- define "vortex.resources" -}}
{{- if .Values.resources }}{{ toYaml .Values.resources }}
{{- else -}}
{{- $memory := printf "%sMi" (include "vortex.memory" .) -}}
requests: {cpu: {{ .Values.processes | quote }}, memory: {{ $memory }}}
limits: {memory: {{ $memory }}}
{{- end }}
{{- end }}

{{- /* What the Deployment and the CronJob have in common. */ -}}
{{- define "vortex.pod" -}}
serviceAccountName: {{ include "vortex.serviceAccount" . }}
enableServiceLinks: false  # or each Service of the namespace sets variables, one named vortex VORTEX_PORT
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: settings
    configMap: {name: {{ include "vortex.fullname" . }}}
  - name: scratch
    emptyDir: {sizeLimit: {{ default (include "vortex.scratch" .) .Values.scratch.sizeLimit }}}
{{- end }}

{{- define "vortex.container" -}}
name: vortex
image: {{ include "vortex.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: settings, mountPath: /etc/vortex, readOnly: true}
  - {name: scratch, mountPath: /tmp}
resources: {{- include "vortex.resources" . | nindent 2 }}
{{- end }}

{{- define "vortex.checked" -}}
{{- $replicas := .Values.replicas | int }}
{{- $scaled := or .Values.keda.enabled .Values.autoscaling.enabled }}
{{- if ne (include "vortex.mode" .) "dynamodb" }}
{{- if or (gt $replicas 1) (gt (int .Values.processes) 1) $scaled }}
{{- fail "several workers need settings.coordination.mode \"dynamodb\"; \"local\" is for replicas 1, processes 1 and no scaler" }}
{{- end }}
{{- end }}
{{- $figures := .Files.Get "files/figures.json" | fromJson }}
{{- $grace := include "vortex.ms" (list (dig "shutdown" "grace" $figures.grace .Values.settings) $figures.durations) | int64 }}
{{- if le (mul 1000 (int64 .Values.terminationGracePeriodSeconds)) $grace }}
{{- fail "terminationGracePeriodSeconds must be more than settings.shutdown.grace, or a worker is killed before it has committed" }}
{{- end }}
{{- if and .Values.keda.enabled .Values.autoscaling.enabled }}
{{- fail "keda.enabled and autoscaling.enabled: one scaler at a time" }}
{{- end }}
{{- if and .Values.keda.enabled (eq (int .Values.keda.minReplicas) 0) (not .Values.drain.enabled) }}
{{- fail "keda.minReplicas 0 needs drain.enabled: without a worker no hour closes" }}
{{- end }}
{{- if and .Values.keda.enabled (eq (int .Values.keda.minReplicas) 0) (not .Values.keda.hours) }}
{{- fail "keda.minReplicas 0 needs keda.hours: where no pod runs, nothing tells of lag, and no pod would start again" }}
{{- end }}
{{- if and .Values.drain.enabled (not (include "vortex.sleeps" .)) }}
{{- fail "drain.enabled needs times without a pod: keda.enabled with keda.minReplicas 0, or replicas 0 and no scaler" }}
{{- end }}
{{- if and .Values.drain.enabled .Values.keda.enabled (not .Values.drain.schedule) }}
{{- fail "drain.schedule is required with keda.hours: name times outside of them, such as \"10 23,0-5 * * *\"" }}
{{- end }}
{{- range $key := list "limit" "keys" }}
{{- $given := dig "memory" $key $figures.least $.Values.settings }}
{{- if and (ne (toString $given) "auto") (lt (include "vortex.bytes" (list $given $figures.sizes) | int64) (int64 $figures.least)) }}
{{- fail (printf "settings.memory.%s must be at least \"1MiB\", not %q" $key (toString $given)) }}
{{- end }}
{{- end }}
{{- end }}
