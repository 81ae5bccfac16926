{{/* The common part of all pods: an unprivileged user, no token, and the required secrets. Takes the same as `environment`. Indented as a pod's spec. */}}
{{- define "backpack-streams.podSpec" -}}
{{- $root := .root -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- range $name := list "runAsUser" "runAsGroup" "fsGroup" }}
  {{- $value := get $root.Values.podSecurity $name }}
  {{- if not (kindIs "invalid" $value) }}
  {{- if ne (toString $value) "" }}
  {{ $name }}: {{ int64 $value }}
  {{- end }}
  {{- end }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- range $name := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- $value := get $.values $name | default (get $root.Values $name) }}
{{- if $value }}
{{- if kindIs "string" $value }}
{{ $name }}: {{ $value }}
{{- else }}
{{ $name }}:
  {{- toYaml $value | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
{{- with concat $root.Values.hostAliases (.values.hostAliases | default list) }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: 64Mi
  {{- range $name, $mount := include "backpack-streams.mounts" . | fromYaml }}
  - name: {{ $name }}
    secret:
      secretName: {{ $mount.secret }}
      defaultMode: 0440
      items:
        {{- range $file, $key := $mount.files }}
        - key: {{ $key | quote }}
          path: {{ $file }}
        {{- end }}
  {{- end }}
  {{- with concat $root.Values.extraVolumes (.values.extraVolumes | default list) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* A container's image, privileges, mounts and environment, without its name. Takes the same as `environment`, and `resources`, `arguments`. */}}
{{- define "backpack-streams.container" -}}
image: {{ include "backpack-streams.image" . | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ toJson .arguments }}
env:
  {{- include "backpack-streams.environment" . | trim | nindent 2 }}
{{- with .resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  privileged: false
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- range $name, $mount := include "backpack-streams.mounts" . | fromYaml }}
  - name: {{ $name }}
    mountPath: /etc/backpack-streams/{{ $name }}
    readOnly: true
  {{- end }}
  {{- with concat .root.Values.extraVolumeMounts (.values.extraVolumeMounts | default list) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Containers of the values that run before those of the chart, as a YAML list. Takes `root`, `values`. */}}
{{- define "backpack-streams.initContainers" -}}
{{- with concat .root.Values.initContainers (.values.initContainers | default list) }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/*
Labels and annotations of a pod, without the chart's version, so that a new chart version alone does not restart pods. Takes `root`, `component`, `values`,
perhaps `shard`, `annotations` (the chart's own).
*/}}
{{- define "backpack-streams.podMetadata" -}}
{{- $chosenBy := include "backpack-streams.selectorLabels" . | fromYaml -}}
{{- $chart := dict "app.kubernetes.io/version" .root.Chart.AppVersion "app.kubernetes.io/part-of" "backpack-streams" -}}
labels:
  {{- include "backpack-streams.words" (list
    $chosenBy
    $chart
    (.values.podLabels | default dict)
    (.values.labels | default dict)
    .root.Values.podLabels
    .root.Values.commonLabels
  ) | nindent 2 }}
{{- with include "backpack-streams.words" (list
  (.annotations | default dict)
  (.values.podAnnotations | default dict)
  (.values.annotations | default dict)
  .root.Values.podAnnotations
) }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Spreads the pods of a service, and especially those of one shard. Takes `root`, `component`, perhaps `shard`. */}}
{{- define "backpack-streams.topologySpread" -}}
{{- $spread := .root.Values.topologySpread -}}
{{- if $spread.enabled }}
topologySpreadConstraints:
  {{- range $key := $spread.topologyKeys }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $spread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "backpack-streams.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end -}}

{{/*
A service's Deployment. Takes the same as `environment`, and `name`, `replicas` (none if an autoscaler sets them), `handover` (whether a
pod's successor starts before it stops), perhaps `shard`, `ports` (by name, besides that of the metrics), `readsOnly` (whether it writes no topics).
*/}}
{{- define "backpack-streams.deployment" -}}
{{- $handoverSeconds := int (.values.handoverSeconds | default 0) -}}
{{- $settings := merge (dict "metrics_host" "*" "metrics_port" 9400) .settings -}}
{{- if not .readsOnly -}}{{- $_ := set $settings "create_topics" false -}}{{- end -}}
{{- $context := merge (dict "settings" $settings "arguments" (list .component) "resources" .values.resources) . -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "backpack-streams.labels" . | nindent 4 }}
spec:
  {{- if hasKey . "replicas" }}
  replicas: {{ .replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    {{- if .handover }}
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
    {{- else }}
    type: Recreate
    {{- end }}
  selector:
    matchLabels:
      {{- include "backpack-streams.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      {{- include "backpack-streams.podMetadata" . | nindent 6 }}
    spec:
      serviceAccountName: {{ include "backpack-streams.serviceAccountName" .root }}
      terminationGracePeriodSeconds: {{ add $handoverSeconds (int .values.stopSeconds) }}
      {{- include "backpack-streams.podSpec" $context | nindent 6 }}
      {{- with include "backpack-streams.topologySpread" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- with include "backpack-streams.initContainers" . }}
      initContainers:
        {{- . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          {{- include "backpack-streams.container" $context | nindent 10 }}
          ports:
            - name: metrics
              containerPort: 9400
              protocol: TCP
            {{- range $name, $port := .ports }}
            - name: {{ $name }}
              containerPort: {{ $port }}
              protocol: TCP
            {{- end }}
          {{- include "backpack-streams.probes" . | nindent 10 }}
          {{- with include "backpack-streams.handover" (dict "root" .root "seconds" $handoverSeconds) | trim }}
          {{- . | nindent 10 }}
          {{- end }}
        {{- with concat .root.Values.extraContainers .values.extraContainers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}

{{/* Lets processor time set the number of a Deployment's pods. Takes `root`, `component`, `name`, `scaler` (its values). */}}
{{- define "backpack-streams.autoscaler" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "backpack-streams.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ .name }}
  minReplicas: {{ int .scaler.minReplicas }}
  maxReplicas: {{ int .scaler.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ int .scaler.targetCPUUtilizationPercentage }}
  behavior:
    scaleDown:
      stabilizationWindowSeconds: 600
{{- end -}}

{{/* /healthz answers from the start, /readyz once the service is working. */}}
{{- define "backpack-streams.probes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: metrics
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /healthz
    port: metrics
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: metrics
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* A stopping pod continues for a while, so that its successor is ready first. Kubernetes 1.30 and newer can sleep without a command. */}}
{{- define "backpack-streams.handover" -}}
{{- if gt .seconds 0 }}
lifecycle:
  preStop:
    {{- if semverCompare ">=1.30.0-0" .root.Capabilities.KubeVersion.Version }}
    sleep:
      seconds: {{ .seconds }}
    {{- else }}
    exec:
      command: [sleep, {{ .seconds | toString | quote }}]
    {{- end }}
{{- end }}
{{- end -}}

{{/* A market or perp producer: a Deployment for each shard. Takes `root`, `component`, `values`. */}}
{{- define "backpack-streams.producer" -}}
{{- if .values.enabled }}
{{- $shards := int .values.shards }}
{{- range $shard := until $shards }}
{{- $settings := dict "symbols" (include "backpack-streams.joined" $.root.Values.symbols) "shard_index" $shard "shard_count" $shards }}
{{- with $.values.streams }}
{{- $_ := set $settings "streams" (include "backpack-streams.joined" .) }}
{{- end }}
---
{{ include "backpack-streams.deployment" (dict
  "root" $.root
  "component" $.component
  "values" $.values
  "name" (printf "%s-%s-%d" (include "backpack-streams.fullname" $.root) $.component $shard)
  "shard" (toString $shard)
  "replicas" (int $.values.replicasPerShard)
  "handover" true
  "needs" (list "kafka" "registry" "exchange")
  "settings" $settings
) }}
{{- end }}
{{- end }}
{{- end -}}
