{{- define "vortex.drainName" -}}
{{ include "vortex.fullname" . }}-drain
{{- end }}

{{- define "vortex.drainSchedule" -}}
{{ default "15 * * * *" .Values.drain.schedule }}
{{- end }}

{{- /* That of keda.hours, where it is one. */ -}}
{{- define "vortex.drainTimeZone" -}}
{{- $zones := list }}
{{- if .Values.keda.enabled }}{{ range .Values.keda.hours }}{{ $zones = append $zones (default "UTC" .timezone) }}{{ end }}{{ end }}
{{- $zones = uniq $zones }}
{{- if .Values.drain.timeZone }}{{ .Values.drain.timeZone }}{{ else if eq (len $zones) 1 }}{{ first $zones }}{{ end }}
{{- end }}

{{- /* Shards of the stream: as many as all pods read at most. */ -}}
{{- define "vortex.drainShards" -}}
{{- $pods := .Values.keda.enabled | ternary (int64 .Values.keda.maxReplicas) 1 }}
{{- default (mul $pods (int64 .Values.processes) (int64 .Values.shardsPerProcess)) (int64 .Values.drain.shards) }}
{{- end }}

{{- /* What the job gets: it is one process, which reads all shards. A limit of "auto" gives way to the memory of the pod, so only
       the filters of more shards come on top. */ -}}
{{- define "vortex.drainResources" -}}
{{- if .Values.drain.resources }}{{ toYaml .Values.drain.resources }}
{{- else }}
{{- $figures := .Files.Get "files/figures.json" | fromJson }}
{{- $one := dict "Files" .Files "Values" (set (deepCopy .Values) "processes" 1) }}
{{- $more := max 0 (sub (include "vortex.drainShards" . | int64) (int64 .Values.shardsPerProcess)) }}
{{- $filters := div (add (mul $more (int64 $figures.filter)) 1048575) 1048576 }}
{{- $memory := printf "%dMi" (add (include "vortex.memory" $one | int64) $filters) -}}
requests: {cpu: "1", memory: {{ $memory }}}
limits: {memory: {{ $memory }}}
{{- end }}
{{- end }}
