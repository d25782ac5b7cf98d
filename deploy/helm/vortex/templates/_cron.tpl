{{- /* Cron expressions, as Kubernetes and KEDA read them: both have the parser of github.com/robfig/cron. */ -}}

{{- /* The numbers of one field, as JSON: (list WHERE FIELD NAME LOW HIGH). Fails with a sentence that names the value. */ -}}
{{- define "vortex.cronField" -}}
{{- $where := index . 0 }}{{ $field := index . 1 }}{{ $name := index . 2 }}{{ $low := index . 3 }}{{ $high := index . 4 }}
{{- $found := list }}
{{- range splitList "," $field }}
{{- if not (regexMatch "^([*?]|[0-9]+(-[0-9]+)?)(/[0-9]+)?$" .) }}{{ fail (printf "%s is no cron expression: %q as %s" $where . $name) }}{{ end }}
{{- $range := regexFind "^[^/]+" . }}
{{- $step := contains "/" . | ternary (regexFind "[0-9]+$" .) "1" | int }}
{{- $first := regexMatch "^[0-9]" $range | ternary (regexFind "^[0-9]+" $range | int) $low }}
{{- $last := regexMatch "^[0-9]+$" . | ternary $first $high }}
{{- if contains "-" $range }}{{ $last = regexFind "[0-9]+$" $range | int }}{{ end }}
{{- if or (lt $first $low) (gt $last $high) (gt $first $last) (lt $step 1) }}
{{- fail (printf "%s is no cron expression: %q as %s, which is from %d to %d, the smaller number first" $where . $name $low $high) }}
{{- end }}
{{- range untilStep $first (add1 $last | int) $step }}{{ $found = append $found . }}{{ end }}
{{- end }}
{{- $found | toJson }}
{{- end }}

{{- /* The fields of an expression as lists of numbers, as JSON: (list WHERE EXPRESSION). */ -}}
{{- define "vortex.cron" -}}
{{- $where := printf "%s: %q" (first .) (last .) }}
{{- $named := dict "@hourly" "0 * * * *" "@daily" "0 0 * * *" "@midnight" "0 0 * * *" "@weekly" "0 0 * * 0" "@monthly" "0 0 1 * *" "@yearly" "0 0 1 1 *" "@annually" "0 0 1 1 *" }}
{{- $text := get $named (last .) | default (last .) | upper }}
{{- range $at, $name := splitList " " "SUN MON TUE WED THU FRI SAT" }}{{ $text = regexReplaceAllLiteral (printf "\\b%s\\b" $name) $text (toString $at) }}{{ end }}
{{- range $at, $name := splitList " " "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC" }}{{ $text = regexReplaceAllLiteral (printf "\\b%s\\b" $name) $text (add1 $at | toString) }}{{ end }}
{{- $fields := regexSplit " +" (trim $text) -1 }}
{{- if ne (len $fields) 5 }}{{ fail (printf "%s is no cron expression: it needs minute, hour, day of month, month, day of week" $where) }}{{ end }}
{{- $made := dict "minute" (include "vortex.cronField" (list $where (index $fields 0) "minute" 0 59) | fromJsonArray) }}
{{- $_ := set $made "hour" (include "vortex.cronField" (list $where (index $fields 1) "hour" 0 23) | fromJsonArray) }}
{{- $_ := set $made "days" (include "vortex.cronField" (list $where (index $fields 2) "day of month" 1 31) | fromJsonArray) }}
{{- $_ := set $made "months" (include "vortex.cronField" (list $where (index $fields 3) "month" 1 12) | fromJsonArray) }}
{{- $_ := set $made "weekdays" (include "vortex.cronField" (list $where (index $fields 4) "day of week" 0 6) | fromJsonArray) }}
{{- $_ := set $made "everyDay" (lt (len $made.days) 31 | ternary false true) }}
{{- $_ := set $made "everyMonth" (lt (len $made.months) 12 | ternary false true) }}
{{- if not $made.everyDay }}{{ $_ := set $made "weekdays" (until 7) }}{{ end }}
{{- $made | toJson }}
{{- end }}

{{- /* Minutes of a week, from Sunday: (list CRON), as JSON. */ -}}
{{- define "vortex.minutes" -}}
{{- $cron := . }}{{ $found := list }}
{{- range $day := $cron.weekdays }}{{ range $hour := $cron.hour }}{{ range $minute := $cron.minute }}
{{- $found = append $found (add (mul 1440 (int $day)) (mul 60 (int $hour)) (int $minute)) }}
{{- end }}{{ end }}{{ end }}
{{- $found | toJson }}
{{- end }}

{{- /* Minutes from a minute of the week to the next of others, at least one: (list MINUTE OTHERS). */ -}}
{{- define "vortex.until" -}}
{{- $at := first . | int }}{{ $least := 10080 }}
{{- range last . }}{{ $least = min $least (add1 (mod (add 10079 (sub (int .) $at)) 10080)) }}{{ end }}
{{- $least }}
{{- end }}

{{- /* Not empty where KEDA has a pod run at a minute of the week: (list MINUTE STARTS ENDS). The next end comes before the next start. */ -}}
{{- define "vortex.awake" -}}
{{- $start := include "vortex.until" (list (index . 0) (index . 1)) | int }}
{{- $end := include "vortex.until" (list (index . 0) (index . 2)) | int }}
{{- if le $end $start }}true{{ end }}
{{- end }}

{{- /* Fails where a time zone has no name of the time zone database: (list $ WHERE NAME). Names the one with the longest begin
       and end in common. */ -}}
{{- define "vortex.checkedZone" -}}
{{- $known := ((index . 0).Files.Get "files/zones.json" | fromJson).names }}{{ $where := index . 1 }}{{ $name := index . 2 }}
{{- if and $name (not (has $name $known)) }}
{{- $given := lower $name | trunc 64 }}{{ $nearest := "" }}{{ $best := -10080 }}
{{- range $known }}
{{- $zone := lower . }}{{ $begin := 0 }}{{ $end := 0 }}
{{- range $n := untilStep 1 (add1 (min (len $given) (len $zone)) | int) 1 }}
{{- if hasPrefix (trunc $n $given) $zone }}{{ $begin = $n }}{{ end }}
{{- if hasSuffix (trunc (mul -1 $n | int) $given) $zone }}{{ $end = $n }}{{ end }}
{{- end }}
{{- $alike := sub (mul 4 (min (add $begin $end) (len $zone))) (len $zone) }}
{{- if gt (int $alike) (int $best) }}{{ $best = $alike }}{{ $nearest = . }}{{ end }}
{{- end }}
{{- fail (printf "%s: there is no time zone %q; did you mean %q? Names are those of the time zone database, such as Europe/Berlin or UTC" $where (trunc 64 $name) $nearest) }}
{{- end }}
{{- end }}

{{- /* By how many minutes the clock of a zone is ahead of another's, in January and in July: (list ZONE OTHER), as JSON. */ -}}
{{- define "vortex.ahead" -}}
{{- $found := list }}
{{- range $date := list "2026-01-15" "2026-07-15" }}
{{- $each := list }}
{{- range $ }}
{{- $offset := dateInZone "-0700" (toDate "2006-01-02" $date) . }}
{{- $minutes := add (mul 60 (substr 1 3 $offset | trimPrefix "0" | int)) (substr 3 5 $offset | trimPrefix "0" | int) }}
{{- $each = append $each (hasPrefix "-" $offset | ternary (mul -1 $minutes) $minutes) }}
{{- end }}
{{- $found = append $found (sub (first $each) (last $each)) }}
{{- end }}
{{- uniq $found | toJson }}
{{- end }}

{{- /* Refuses a drain while pods run: they do until keda.cooldownPeriod after their hours. Windows that name days of a month or
       months are left out: no table of a week has them. */ -}}
{{- define "vortex.checkedDrain" -}}
{{- $schedule := include "vortex.drainSchedule" . }}
{{- $drain := include "vortex.cron" (list "drain.schedule" $schedule) | fromJson }}
{{- $minutes := include "vortex.minutes" $drain | fromJsonArray }}
{{- $zone := default "UTC" (include "vortex.drainTimeZone" .) }}
{{- if .Values.keda.enabled }}{{ range $hours := .Values.keda.hours }}
{{- $from := include "vortex.cron" (list "keda.hours.start" .start) | fromJson }}
{{- $to := include "vortex.cron" (list "keda.hours.end" .end) | fromJson }}
{{- if and $from.everyDay $from.everyMonth $to.everyDay $to.everyMonth }}
{{- $starts := include "vortex.minutes" $from | fromJsonArray }}
{{- $ends := include "vortex.minutes" $to | fromJsonArray }}
{{- range $ahead := include "vortex.ahead" (list (default "UTC" .timezone) $zone) | fromJsonArray }}{{ range $own := $minutes }}
{{- $at := mod (add 10080 (int $own) (int $ahead)) 10080 | int }}
{{- if include "vortex.running" (list $at $starts $ends $.Values.keda.cooldownPeriod) }}
{{- fail (printf "drain.schedule %q has %02d:%02d, while pods run: keda.hours are from %q to %q%s, and pods run on for keda.cooldownPeriod (%ds)" $schedule (div (mod (int $own) 1440) 60) (mod (int $own) 60) $hours.start $hours.end (eq $zone (default "UTC" $hours.timezone) | ternary "" (printf " in %s" (default "UTC" $hours.timezone))) (int $.Values.keda.cooldownPeriod)) }}
{{- end }}
{{- end }}{{ end }}
{{- end }}
{{- end }}{{ end }}
{{- end }}

{{- /* Not empty where a pod runs at a minute of the week: (list MINUTE STARTS ENDS COOLDOWN), the last in seconds. */ -}}
{{- define "vortex.running" -}}
{{- $at := index . 0 }}{{ $starts := index . 1 }}{{ $ends := index . 2 }}
{{- $cooldown := div (add 59 (int (index . 3))) 60 | int }}
{{- include "vortex.awake" (list $at $starts $ends) }}
{{- range $ends }}
{{- if lt (mod (add 10080 (sub $at (int .))) 10080 | int) $cooldown }}{{ include "vortex.awake" (list (sub (int .) 1) $starts $ends) }}{{ end }}
{{- end }}
{{- end }}
