{{- /* What the schema of the values cannot say. Each sentence names the value. */ -}}
{{- define "vortex.checked" -}}
{{- include "vortex.checkedWorkers" . }}
{{- include "vortex.checkedScalers" . }}
{{- include "vortex.checkedPods" . }}
{{- include "vortex.checkedMetadata" . }}
{{- end }}

{{- define "vortex.checkedWorkers" -}}
{{- $stream := dig "source" "stream" "" .Values.settings }}
{{- if not (regexMatch "^(arn:[^ ]+:stream/)?[A-Za-z0-9_.-]{1,128}$" $stream) }}
{{- fail (printf "settings.source.stream %q is neither the name nor the ARN of a stream" $stream) }}
{{- end }}
{{- if not (regexMatch "^(s3://.|file:///.)" (dig "store" "url" "" .Values.settings)) }}
{{- fail (printf "settings.store.url %q is no address; write s3://bucket/prefix" (dig "store" "url" "" .Values.settings)) }}
{{- end }}
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
{{- end }}

{{- define "vortex.checkedScalers" -}}
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
{{- if and .Values.keda.enabled (gt (int .Values.keda.minReplicas) (int .Values.keda.maxReplicas)) }}
{{- fail (printf "keda.minReplicas %d is above keda.maxReplicas %d" (int .Values.keda.minReplicas) (int .Values.keda.maxReplicas)) }}
{{- end }}
{{- include "vortex.checkedZone" (list . "drain.timeZone" .Values.drain.timeZone) }}
{{- range .Values.keda.hours }}{{ include "vortex.checkedZone" (list $ "keda.hours: timezone" .timezone) }}{{ end }}
{{- if .Values.keda.enabled }}{{ range .Values.keda.hours }}
{{- if gt (int (default 1 .replicas)) (int $.Values.keda.maxReplicas) }}
{{- fail (printf "keda.hours: replicas %d is above keda.maxReplicas %d" (int .replicas) (int $.Values.keda.maxReplicas)) }}
{{- end }}
{{- $from := include "vortex.cron" (list "keda.hours.start" .start) }}
{{- if eq $from (include "vortex.cron" (list "keda.hours.end" .end)) }}
{{- fail (printf "keda.hours: start and end are both %q; KEDA refuses that" .start) }}
{{- end }}
{{- end }}{{ end }}
{{- if .Values.drain.enabled }}{{ include "vortex.checkedDrain" . }}{{ end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail (printf "autoscaling.minReplicas %d is above autoscaling.maxReplicas %d" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- end }}
{{- if and .Values.autoscaling.enabled .Values.resources (not (dig "requests" "cpu" "" .Values.resources)) (not (dig "limits" "cpu" "" .Values.resources)) }}
{{- fail "autoscaling.enabled needs resources.requests.cpu: the target is a percentage of that" }}
{{- end }}
{{- end }}

{{- define "vortex.checkedPods" -}}
{{- $host := dig "http" "host" "127.0.0.1" .Values.settings }}
{{- if regexMatch "^(?i:unix:.*|localhost|127[.].*|::1)$" $host }}
{{- fail (printf "settings.http.host %q: probes and scrapers cannot reach a pod there; take \"0.0.0.0\", or \"::\" in a cluster of IPv6 alone" $host) }}
{{- end }}
{{- if not (regexMatch "^[A-Za-z0-9._:%-]+$" $host) }}
{{- fail (printf "settings.http.host %q is no address; take \"0.0.0.0\", or \"::\" in a cluster of IPv6 alone" $host) }}
{{- end }}
{{- $known := list "HTTP__HOST" "HTTP__PORT" "COORDINATION__MODE" "SHUTDOWN__GRACE" "MEMORY__LIMIT" "MEMORY__KEYS" "COMMIT__EVERY" "COMMIT__MAX_BYTES" "PUBLISH__PERIOD" "PUBLISH__PRESET" "PUBLISH__SCRATCH" "SOURCE__STREAM" "SOURCE__REGION" }}
{{- $names := list }}
{{- range .Values.env }}
{{- if has .name $names }}{{ fail (printf "env: %s is there twice" .name) }}{{ end }}
{{- $names = append $names .name }}
{{- if eq .name "VORTEX_DEFAULTS" }}
{{- fail "env VORTEX_DEFAULTS is the image's own, and what the chart goes by may be in it; write `settings` instead" }}
{{- end }}
{{- if and (hasPrefix "VORTEX_" (upper .name)) (has (trimPrefix "VORTEX_" (upper .name)) $known) }}
{{- fail (printf "env %s: probes, memory, scaling and rules go by `settings`; write settings.%s instead" .name (trimPrefix "VORTEX_" (upper .name) | lower | replace "__" ".")) }}
{{- end }}
{{- end }}
{{- range $where, $resources := dict "resources" .Values.resources "drain.resources" .Values.drain.resources }}
{{- range $kind, $least := dig "requests" dict (default dict $resources) }}
{{- $most := dig "limits" $kind "" $resources }}
{{- if and $most (gt (include "vortex.quantity" $least | float64) (include "vortex.quantity" $most | float64)) }}
{{- fail (printf "%s.requests.%s %v is above %s.limits.%s %v" $where $kind $least $where $kind $most) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) .Values.serviceAccount.annotations }}
{{- fail "serviceAccount.annotations need serviceAccount.create: the chart changes no account that exists; annotate it yourself" }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.from) (or .Values.podMonitor.enabled .Values.prometheusRule.enabled .Values.keda.prometheus) }}
{{- fail "networkPolicy.from is required where Prometheus reads metrics: name its namespace, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}], or [{podSelector: {}}] for this one" }}
{{- end }}
{{- $volumes := list "settings" "scratch" }}
{{- range .Values.extraVolumes }}
{{- if has .name $volumes }}{{ fail (printf "extraVolumes: there is a volume %q already; take another name" .name) }}{{ end }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- $paths := list "/etc/vortex" "/tmp" }}
{{- range .Values.extraVolumeMounts }}
{{- if not (has .name $volumes) }}{{ fail (printf "extraVolumeMounts: extraVolumes have no volume %q" .name) }}{{ end }}
{{- if has (clean .mountPath) $paths }}{{ fail (printf "extraVolumeMounts: something is mounted at %q already" .mountPath) }}{{ end }}
{{- $paths = append $paths (clean .mountPath) }}
{{- end }}
{{- $url := dig "store" "url" "" .Values.settings }}
{{- if hasPrefix "file://" $url }}
{{- $folder := printf "%s/" (trimPrefix "file://" $url | clean) }}
{{- $kept := false }}
{{- range .Values.extraVolumeMounts }}{{ if hasPrefix (printf "%s/" (clean .mountPath)) $folder }}{{ $kept = true }}{{ end }}{{ end }}
{{- if not $kept }}
{{- fail (printf "settings.store.url %q: no volume is mounted there; add one by extraVolumes and extraVolumeMounts, or write s3://bucket/prefix" $url) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* A quantity of Kubernetes, such as 500m, 2Gi or 1e9, as a number. */ -}}
{{- define "vortex.quantity" -}}
{{- $units := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 }}
{{- $number := regexFind "^[0-9.]+([eE][0-9]+)?" (toString .) }}
{{- mulf (float64 $number) (get $units (trimPrefix $number (toString .)) | float64) }}
{{- end }}

{{- define "vortex.checkedMetadata" -}}
{{- $labels := include "vortex.labels" . | fromYaml }}
{{- range $where, $given := dict "podLabels" .Values.podLabels "podMonitor.labels" .Values.podMonitor.labels "prometheusRule.labels" .Values.prometheusRule.labels }}
{{- range $key, $_ := $given }}
{{- if hasKey $labels $key }}{{ fail (printf "%s: the chart sets %q itself, and selectors go by it" $where $key) }}{{ end }}
{{- end }}
{{- end }}
{{- if hasKey (default dict .Values.podAnnotations) "checksum/settings" }}
{{- fail "podAnnotations: the chart sets \"checksum/settings\" itself" }}
{{- end }}
{{- end }}
