{{/* Rules of NetworkPolicies. A policy sees the pod's port, not the Service's: `networkPolicy.*.ports` is for ports that differ. */}}

{{/* Port of a URL. */}}
{{- define "backpack-streams.portOf" -}}
{{- $parts := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $parts.host | trimPrefix ":" -}}
{{- if $port -}}
{{- $port -}}
{{- else -}}
{{- get (dict "https" 443 "wss" 443 "socks5" 1080 "socks5h" 1080) $parts.scheme | default 80 -}}
{{- end -}}
{{- end -}}

{{/* Port of the proxy to the exchange; empty without one, and if its URL is in a file. Takes `root`, `values`. */}}
{{- define "backpack-streams.proxyPort" -}}
{{- $proxy := get (include "backpack-streams.config" . | fromJson) "exchange_proxy" | default "" | trim -}}
{{- if and $proxy (ne (lower $proxy) "none") -}}
{{- include "backpack-streams.portOf" (contains "://" $proxy | ternary $proxy (printf "http://%s" $proxy) | trimSuffix "/") -}}
{{- end -}}
{{- end -}}

{{/* What a service connects to, as a YAML list. Takes `root`, `component`. */}}
{{- define "backpack-streams.connections" -}}
{{- if eq .component "gateway" -}}
{{- include "backpack-streams.gatewayNeeds" .root -}}
{{- else -}}
{{- toYaml (eq .component "book-builder" | ternary (list "kafka" "registry") (list "kafka" "registry" "exchange")) -}}
{{- end -}}
{{- end -}}

{{/* Whether any service connects to the exchange. */}}
{{- define "backpack-streams.needsExchange" -}}
{{- $root := . -}}
{{- range $component := include "backpack-streams.components" . | fromYamlArray -}}
{{- if has "exchange" (include "backpack-streams.connections" (dict "root" $root "component" $component) | fromYamlArray) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* One rule. Takes `to`, `ports`. */}}
{{- define "backpack-streams.egressRule" -}}
{{- $ports := list -}}
{{- range .ports -}}{{- $ports = append $ports (toString .) -}}{{- end -}}
- ports:
    {{- range $ports | uniq }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* What a component may reach, as a YAML list. Takes `root`, `needs`, and `values` if it needs the exchange. */}}
{{- define "backpack-streams.egress" -}}
{{- $root := .root -}}
{{- $policy := $root.Values.networkPolicy -}}
- ports:
    {{- range $policy.dns.ports }}
    - port: {{ int . }}
      protocol: UDP
    - port: {{ int . }}
      protocol: TCP
    {{- end }}
  {{- with $policy.dns.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- if has "kafka" .needs }}
{{- $ports := $policy.kafka.ports }}
{{- range splitList "," (include "backpack-streams.joined" $root.Values.kafka.bootstrapServers) }}
{{- with regexFind ":[0-9]+$" (trim .) }}
{{- $ports = append $ports (trimPrefix ":" .) }}
{{- end }}
{{- end }}
{{ include "backpack-streams.egressRule" (dict "to" $policy.kafka.to "ports" $ports) }}
{{- end }}
{{- if and (has "registry" .needs) $root.Values.schemaRegistry.url }}
{{- $ports := $policy.schemaRegistry.ports }}
{{- range splitList "," $root.Values.schemaRegistry.url }}
{{- $ports = append $ports (include "backpack-streams.portOf" (trim .)) }}
{{- end }}
{{ include "backpack-streams.egressRule" (dict "to" $policy.schemaRegistry.to "ports" $ports) }}
{{- end }}
{{- if has "exchange" .needs }}
{{- $ports := $policy.exchange.ports }}
{{- with include "backpack-streams.proxyPort" (dict "root" $root "values" .values) }}{{ $ports = append $ports . }}{{ end }}
{{- $sandboxPorts := list }}
{{- range $url, $default := dict "wsUrl" "wss://exchange" "restUrl" "https://exchange" }}
{{- $given := get $root.Values.exchange $url }}
{{- if and (not $given) $root.Values.sandbox.enabled }}
{{- $sandboxPorts = append $sandboxPorts (ternary 18765 18766 (eq $url "wsUrl")) }}
{{- else }}
{{- $ports = append $ports (include "backpack-streams.portOf" (default $default $given)) }}
{{- end }}
{{- end }}
{{- if $ports }}
{{ include "backpack-streams.egressRule" (dict "to" $policy.exchange.to "ports" $ports) }}
{{- end }}
{{- if $sandboxPorts }}
{{- $sandbox := dict "podSelector" (dict "matchLabels" (include "backpack-streams.selectorLabels" (dict "root" $root "component" "sandbox") | fromYaml)) }}
{{ include "backpack-streams.egressRule" (dict "to" (list $sandbox) "ports" $sandboxPorts) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A complete policy. Takes `root`, `component`, `needs`, `values` if it needs the exchange, perhaps `metrics`, `http`, `annotations`, `sandbox`. */}}
{{- define "backpack-streams.networkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "backpack-streams.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "backpack-streams.labels" . | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  podSelector:
    matchLabels:
      {{- include "backpack-streams.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- if .needs }}
  egress:
    {{- include "backpack-streams.egress" . | nindent 4 }}
  {{- end }}
  {{- if .metrics }}
  ingress:
    - ports:
        - port: metrics
          protocol: TCP
      {{- with .root.Values.networkPolicy.metricsFrom }}
      from:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- if .http }}
    - ports:
        - port: http
          protocol: TCP
      {{- with .root.Values.networkPolicy.gatewayFrom }}
      from:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
  {{- end }}
  {{- if .sandbox }}
  ingress:
    - ports:
        - port: ws
          protocol: TCP
        - port: rest
          protocol: TCP
      from:
        - podSelector:
            matchLabels:
              app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
  {{- end }}
{{- end -}}

{{/* Families of a Service's addresses. */}}
{{- define "backpack-streams.ipFamilies" -}}
{{- with .Values.services.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.services.ipFamilies }}
ipFamilies: {{ toJson . }}
{{- end }}
{{- end -}}
