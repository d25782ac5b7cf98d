{{- /* Matchers of PromQL for labels: a="b",c="d". */ -}}
{{- define "vortex.asked" -}}
{{- $found := list }}
{{- range $name, $value := . }}{{ $found = append $found (printf "%s=%q" $name $value) }}{{ end }}
{{- join "," $found }}
{{- end }}

{{- /* Which series are of this release. The Operator gives those of the PodMonitor their namespace and job. */ -}}
{{- define "vortex.ofRelease" -}}
{{- $labels := dict "stream" (include "vortex.stream" .) }}
{{- if or .Values.podMonitor.enabled .Values.prometheusRule.enabled }}{{ $_ := set $labels "namespace" .Release.Namespace }}{{ end }}
{{- if .Values.podMonitor.enabled }}{{ $_ := set $labels "job" (printf "%s/%s" .Release.Namespace (include "vortex.fullname" .)) }}{{ end }}
{{- include "vortex.asked" (default $labels .Values.prometheusRule.matchLabels) }}
{{- end }}

{{- /* The loader runs beside the release, under a name of its own. */ -}}
{{- define "vortex.ofLoader" -}}
{{- $labels := default (dict "namespace" .Release.Namespace) .Values.prometheusRule.matchLabels }}
{{- include "vortex.asked" (omit $labels "job" "stream" "pod" "container") }}
{{- end }}

{{- /* Of kube-state-metrics: a job that ends leaves no metrics of its own. */ -}}
{{- define "vortex.drainRules" -}}
{{- $here := printf "namespace=%q" .Release.Namespace }}
{{- $cron := printf "%s,cronjob=%q" $here (include "vortex.drainName" .) }}
{{- $jobs := printf "%s,job_name=~%q" $here (printf "%s-.+" (include "vortex.drainName" .)) -}}
- name: vortex-drain
  rules:
    - alert: VortexDrainFails
      # A run failed that began after the last run that succeeded.
      expr: >-
        max by (namespace) (kube_job_status_start_time{ {{- $jobs -}} } and on (namespace, job_name) kube_job_failed{ {{- $jobs -}} ,condition="true"} == 1)
        > on (namespace) (max by (namespace) (kube_cronjob_status_last_successful_time{ {{- $cron -}} })
        or max by (namespace) (0 * kube_cronjob_created{ {{- $cron -}} }))
      labels: {severity: critical}
      annotations:
        summary: The job that drains the stream failed. While no run succeeds, no hour closes, and records wait in the stream.
        runbook: docs/how-to/alerts.md#vortexdrainfails
    - alert: VortexDrainLate
      # No run began when the schedule said so, and none that began before is still within its time. Also where it is suspended.
      expr: >-
        time() - max by (namespace) (kube_cronjob_next_schedule_time{ {{- $cron -}} }) > {{ add 600 (int64 .Values.drain.deadlineSeconds) }}
        or max by (namespace) (kube_cronjob_spec_suspend{ {{- $cron -}} }) == 1
      for: 5m
      labels: {severity: critical}
      annotations:
        summary: The job that drains the stream does not run when its schedule says so, or is suspended. No hour closes.
        runbook: docs/how-to/alerts.md#vortexdrainlate
{{- end }}
