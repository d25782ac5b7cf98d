{{- /* A name for all objects: of a Service (a letter first, no dot), and with "-drain" of a CronJob (52 characters at most). A
       digest of the release's name keeps names apart that had to be changed. */ -}}
{{- define "vortex.fullname" -}}
{{- with .Values.fullnameOverride }}{{ . }}{{ else }}
{{- $wanted := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- $name := $wanted | replace "." "-" }}
{{- if not (regexMatch "^[a-z]" $name) }}{{ $name = printf "v-%s" $name }}{{ end }}
{{- if or (ne $name $wanted) (gt (len $name) 46) }}
{{- $name = printf "%s-%s" (regexReplaceAll "-+$" (trunc 39 $name) "") (sha256sum .Release.Name | trunc 6) }}
{{- end }}
{{- $name }}
{{- end }}
{{- end }}

{{- define "vortex.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "vortex.labels" -}}
{{ include "vortex.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
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

{{- /* The stream's name, which its ARN ends with. */ -}}
{{- define "vortex.stream" -}}
{{ regexReplaceAll "^.*:stream/" (dig "source" "stream" "" .Values.settings) "" }}
{{- end }}

{{- /* Ports of endpoints and proxies that are not 443, as JSON. */ -}}
{{- define "vortex.ports" -}}
{{- $urls := list }}
{{- range $section := list "source" "store" "coordination" }}{{ $urls = append $urls (dig $section "endpoint_url" "" $.Values.settings) }}{{ end }}
{{- range .Values.env }}{{ if regexMatch "^(?i:https?_proxy|all_proxy|aws_endpoint_url.*)$" .name }}{{ $urls = append $urls (default "" .value) }}{{ end }}{{ end }}
{{- $found := list }}
{{- range $urls }}
{{- $port := regexFind ":[0-9]+$" (regexFind "^[a-z]+://[^/]+" .) | trimPrefix ":" }}
{{- if not $port }}{{ $port = hasPrefix "http://" . | ternary "80" "443" }}{{ end }}
{{- if ne $port "443" }}{{ $found = append $found (int $port) }}{{ end }}
{{- end }}
{{- $found | uniq | toJson }}
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

{{- /* The parts of a process's memory, in bytes. files/figures.json has those of vortex/core/memory.py: docs/how-to/size.md. */ -}}
{{- define "vortex.memoryParts" -}}
{{- $figures := .Files.Get "files/figures.json" | fromJson }}
{{- $keys := include "vortex.bytes" (list (dig "memory" "keys" $figures.keys .Values.settings) $figures.sizes) | int64 }}
{{- $share := include "vortex.limit" . | trim | int64 }}
{{- $room := max (int64 $figures.room_least) (min (int64 $figures.room_most) (div $share (int64 $figures.room_share))) }}
{{- $filter := mul (int64 .Values.shardsPerProcess) (int64 $figures.filter) }}
{{- dict "process" (int64 $figures.process) "limit" $share "room" $room "pages" (int64 $figures.pages) "keys" $keys "filter" $filter | toJson }}
{{- end }}

{{- /* MiB of a pod. */ -}}
{{- define "vortex.memory" -}}
{{- $figures := .Files.Get "files/figures.json" | fromJson }}
{{- $processes := int64 .Values.processes }}
{{- $each := int64 0 }}
{{- range include "vortex.memoryParts" . | fromJson }}{{ $each = add $each (int64 .) }}{{ end }}
{{- $bytes := mul $processes $each }}
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
