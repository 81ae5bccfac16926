{{/* Whether the sandbox stands in for the exchange's WebSocket or REST API. */}}
{{- define "backpack-streams.sandboxWsUrl" -}}
ws://{{ include "backpack-streams.fullname" . }}-sandbox:18765
{{- end -}}

{{- define "backpack-streams.sandboxRestUrl" -}}
http://{{ include "backpack-streams.fullname" . }}-sandbox:18766
{{- end -}}

{{/* The exchange's URLs; empty for the program's defaults. */}}
{{- define "backpack-streams.wsUrl" -}}
{{- with .Values.exchange.wsUrl -}}
{{ . }}
{{- else -}}
{{- if .Values.sandbox.enabled }}{{ include "backpack-streams.sandboxWsUrl" . }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "backpack-streams.restUrl" -}}
{{- with .Values.exchange.restUrl -}}
{{ . }}
{{- else -}}
{{- if .Values.sandbox.enabled }}{{ include "backpack-streams.sandboxRestUrl" . }}{{ end -}}
{{- end -}}
{{- end -}}
