{{/* The prefix of the names of all resources: at most 40 characters, so that the longest suffix fits into the 63 of a Service. */}}
{{- define "backpack-streams.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
{{- $full = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- end -}}
{{- if gt (len $full) 40 -}}
{{- /* Keeps two long names with the same beginning distinct. */ -}}
{{- printf "%s-%s" (trunc 31 $full | trimSuffix "-" | trimSuffix ".") (sha256sum $full | trunc 8) -}}
{{- else -}}
{{- $full | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change during a resource's life. Takes `root`, `component`, perhaps `shard`. */}}
{{- define "backpack-streams.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- if hasKey . "shard" }}
backpack-streams/shard: {{ .shard | quote }}
{{- end }}
{{- end -}}

{{/*
All labels of a resource, the chart's own before those of the values. Takes `root`, `component`, perhaps `shard`, `own` (more of the chart's)
and `given` (more of the values').
*/}}
{{- define "backpack-streams.labels" -}}
{{- $chart := dict
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/part-of" "backpack-streams"
-}}
{{- $chosenBy := include "backpack-streams.selectorLabels" . | fromYaml -}}
{{- include "backpack-streams.words" (list $chosenBy $chart (.own | default dict) (.given | default dict) .root.Values.commonLabels) -}}
{{- end -}}

{{/* The image of a container. Takes `root`, `component`. The sandbox has an image of its own, named after that of the services. */}}
{{- define "backpack-streams.image" -}}
{{- $image := .root.Values.image -}}
{{- if eq .component "sandbox" -}}
{{- $own := .root.Values.sandbox.image -}}
{{- $image = dict
  "repository" (default (printf "%s-sandbox" $image.repository) $own.repository)
  "tag" (default $image.tag $own.tag)
  "digest" $own.digest
-}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "backpack-streams.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "backpack-streams.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* A list of values or comma-separated text, as comma-separated text. */}}
{{- define "backpack-streams.joined" -}}
{{- if kindIs "slice" . -}}{{ join "," . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/* A setting's value as text. Helm reads every number as a float: 20000000 must not become 2e+07. */}}
{{- define "backpack-streams.settingText" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if and (kindIs "float64" .) (eq . (float64 (int64 .))) -}}
{{- printf "%d" (int64 .) -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}
