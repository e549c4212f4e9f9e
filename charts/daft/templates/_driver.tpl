{{- define "daft.scriptConfigMap" -}}
{{- $files := merge (dict "script.py" .Values.script.content) .Values.script.files -}}
{{- printf "%s-%s" (include "daft.fullname" .) (toJson $files | sha256sum | trunc 8) -}}
{{- end -}}

{{- define "daft.scriptPath" -}}
{{- if .Values.script.path -}}
{{- .Values.script.path -}}
{{- else if .Values.script.content -}}
/job/script.py
{{- else -}}
/job/{{ .Values.script.configMap.key }}
{{- end -}}
{{- end -}}

{{/* The Job's spec; a CronJob makes Jobs of the same. */}}
{{- define "daft.jobSpec" -}}
{{- include "daft.check" . -}}
{{- $driver := .Values.driver -}}
backoffLimit: {{ $driver.backoffLimit }}
{{- with $driver.podFailurePolicy }}
podFailurePolicy:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if not (kindIs "invalid" $driver.activeDeadlineSeconds) }}
activeDeadlineSeconds: {{ $driver.activeDeadlineSeconds }}
{{- end }}
{{- if not (kindIs "invalid" $driver.ttlSecondsAfterFinished) }}
ttlSecondsAfterFinished: {{ $driver.ttlSecondsAfterFinished }}
{{- end }}
template:
  metadata:
    labels:
      {{- include "daft.driverSelector" . | nindent 6 }}
      {{- with merge (deepCopy $driver.podLabels) .Values.commonLabels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- include "daft.annotations" (dict "context" . "further" (list $driver.podAnnotations) "indent" 4) }}
  spec:
    {{- toYaml (merge (deepCopy $driver.podSpec) (include "daft.podSpec" . | fromYaml)) | nindent 4 }}
{{- end -}}

{{/* Kubernetes allows no change of a Job. With a hash of its content in the name, a change is another Job, and what has not
changed does not run again. */}}
{{- define "daft.jobName" -}}
{{- printf "%s-%s" (include "daft.fullname" .) (printf "%s\n%s" (include "daft.jobSpec" .) .Values.driver.run | sha256sum | trunc 8) -}}
{{- end -}}

{{- define "daft.podSpec" -}}
{{- $driver := .Values.driver -}}
{{/* A container that is restarted in its Pod would find the workers of its former life. */ -}}
restartPolicy: Never
serviceAccountName: {{ include "daft.serviceAccountName" . }}
automountServiceAccountToken: true
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $driver.terminationGracePeriodSeconds }}
{{- with $driver.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $driver.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $driver.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $driver.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $driver.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $driver.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $driver.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
- name: driver
  image: {{ include "daft.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args:
    {{- range concat $driver.interpreter (list (include "daft.scriptPath" .)) .Values.script.args }}
    - {{ toString . | quote }}
    {{- end }}
  workingDir: /tmp
  env:
    {{- include "daft.environment" . | nindent 4 }}
  {{- with $driver.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $driver.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $driver.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    {{- if not .Values.script.path }}
    - name: script
      mountPath: /job
      readOnly: true
    {{- end }}
    {{- with $driver.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
volumes:
  - name: tmp
    {{- if $driver.tmpSizeLimit }}
    emptyDir:
      sizeLimit: {{ $driver.tmpSizeLimit }}
    {{- else }}
    emptyDir: {}
    {{- end }}
  {{- if not .Values.script.path }}
  - name: script
    configMap:
      name: {{ if .Values.script.content }}{{ include "daft.scriptConfigMap" . }}{{ else }}{{ .Values.script.configMap.name }}{{ end }}
  {{- end }}
  {{- with $driver.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
