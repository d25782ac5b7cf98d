{{- /* Seconds until a pod is killed. The supervisor of several processes kills those that hang a minute after their grace. */ -}}
{{- define "vortex.patience" -}}
{{ add (int64 .Values.terminationGracePeriodSeconds) (gt (int .Values.processes) 1 | ternary 60 0) }}
{{- end }}

{{- /* What the Deployment and the CronJob have in common. */ -}}
{{- define "vortex.podMetadata" -}}
labels: {{- .labels | nindent 2 }}
  {{- with .root.Values.podLabels }}{{ toYaml . | nindent 2 }}{{ end }}
annotations:
  checksum/settings: {{ include "vortex.toml" .root | sha256sum }}
  {{- with .root.Values.podAnnotations }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{- define "vortex.pod" -}}
serviceAccountName: {{ include "vortex.serviceAccount" . | quote }}
enableServiceLinks: false  # or each Service of the namespace sets variables, one named vortex VORTEX_PORT
terminationGracePeriodSeconds: {{ include "vortex.patience" . }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
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
    emptyDir: {sizeLimit: {{ default (include "vortex.scratch" .) .Values.scratch.sizeLimit | quote }}}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "vortex.container" -}}
name: vortex
image: {{ include "vortex.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: settings, mountPath: /etc/vortex, readOnly: true}
  - {name: scratch, mountPath: /tmp}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources: {{- include "vortex.resources" . | nindent 2 }}
{{- end }}

{{- define "vortex.resources" -}}
{{- if .Values.resources }}{{ toYaml .Values.resources }}
{{- else -}}
{{- $memory := printf "%sMi" (include "vortex.memory" .) -}}
requests: {cpu: {{ .Values.processes | quote }}, memory: {{ $memory }}}
limits: {memory: {{ $memory }}}
{{- end }}
{{- end }}
