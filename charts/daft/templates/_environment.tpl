{{/*
The driver's environment variables, as a list in YAML. What the user sets goes before what the chart sets. The settings
of workers are those of daft_k8s.config, as DAFT_K8S_<OPTION>; maps and lists are JSON. What a script passes to
set_runner_k8s() goes before them.
*/}}
{{- define "daft.environment" -}}
{{- $own := dict -}}
{{- range .Values.driver.env -}}
{{- $_ := set $own .name true -}}
{{- end -}}
{{- $list := list (dict "name" "POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name"))) -}}
{{- $plain := dict "DAFT_RUNNER" "k8s" "DAFT_PROGRESS_BAR" "0" "HOME" "/tmp" -}}
{{- $workers := deepCopy .Values.workers -}}
{{- $_ := set $workers "labels" (merge (dict "app.kubernetes.io/instance" .Release.Name) (default dict $workers.labels)) -}}
{{- $_ := set $workers "imagePullPolicy" (default .Values.image.pullPolicy $workers.imagePullPolicy) -}}
{{- range $key, $variable := include "daft.workerVariables" . | fromYaml -}}
{{- $value := index $workers $key -}}
{{- if kindIs "string" $value -}}
{{- if $value }}{{ $_ := set $plain $variable $value }}{{ end -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- if not (and (or (kindIs "map" $value) (kindIs "slice" $value)) (empty $value)) -}}
{{- $_ := set $plain $variable (toJson $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $plain -}}
{{- if not (hasKey $own $name) }}{{ $list = append $list (dict "name" $name "value" $value) }}{{ end -}}
{{- end -}}
{{- toYaml (concat $list .Values.driver.env) -}}
{{- end -}}
