{{- define "daft.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 43 characters, so that a hash still fits into the 52 that a CronJob's name may have. */}}
{{- define "daft.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $name = include "daft.name" . -}}
{{- if contains $name .Release.Name -}}
{{- $name = .Release.Name -}}
{{- else -}}
{{- $name = printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- end -}}
{{- if gt (len $name) 43 -}}
{{- $name = printf "%s-%s" ($name | trunc 34 | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "daft.driverSelector" -}}
app.kubernetes.io/name: {{ include "daft.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: driver
{{- end -}}

{{/* Workers are not the chart's objects: the driver makes them, with these labels among others. */}}
{{- define "daft.workerSelector" -}}
daft.io/role: worker
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "daft.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "daft.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Arguments: the context, a list of further maps, and how deep it stands. Renders nothing where there are none. */}}
{{- define "daft.annotations" -}}
{{- $all := deepCopy .context.Values.commonAnnotations -}}
{{- range .further -}}
{{- $all = merge (deepCopy .) $all -}}
{{- end -}}
{{- with $all -}}
{{- dict "annotations" . | toYaml | nindent $.indent -}}
{{- end -}}
{{- end -}}

{{- define "daft.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "daft.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is not set: with serviceAccount.create=false it names an existing account" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "daft.image" -}}
{{- $repository := required "image.repository is not set: name an image with daft_k8s, e.g. --set image.repository=registry.example.com/daft-k8s" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "daft.workersNamespace" -}}
{{- default .Release.Namespace .Values.workers.namespace -}}
{{- end -}}

{{/* What no schema can say. */}}
{{- define "daft.check" -}}
{{- $sources := list -}}
{{- if .Values.script.content }}{{ $sources = append $sources "script.content" }}{{ end -}}
{{- if .Values.script.configMap.name }}{{ $sources = append $sources "script.configMap.name" }}{{ end -}}
{{- if .Values.script.path }}{{ $sources = append $sources "script.path" }}{{ end -}}
{{- if not $sources -}}
{{- fail "no script: set one of script.content (--set-file script.content=job.py), script.configMap.name and script.path" -}}
{{- end -}}
{{- if gt (len $sources) 1 -}}
{{- fail (printf "more than one script: %s are set; set one of them" (join " and " $sources)) -}}
{{- end -}}
{{- if and .Values.script.files (not .Values.script.content) -}}
{{- fail "script.files is only used with script.content" -}}
{{- end -}}
{{- if hasKey .Values.script.files "script.py" -}}
{{- fail "script.files: script.py is the name of script.content itself" -}}
{{- end -}}
{{- if and (eq .Values.driver.kind "CronJob") (not .Values.cronJob.schedule) -}}
{{- fail "cronJob.schedule is not set: driver.kind is CronJob, e.g. --set 'cronJob.schedule=0 3 * * *'" -}}
{{- end -}}
{{- with .Values.networkPolicy -}}
{{- if and .enabled .egress.restricted (not .egress.apiServer.cidrs) -}}
{{- fail "networkPolicy.egress.apiServer.cidrs is not set: with networkPolicy.egress.restricted the driver could not start workers; kubectl get endpointslices -n default kubernetes shows the addresses" -}}
{{- end -}}
{{- end -}}
{{- end -}}
