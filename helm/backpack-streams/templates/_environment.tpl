{{/*
Environment variables of a container, as a YAML list.
Takes `root`; `component`; `needs`, a list of kafka, registry, exchange, account, keys; `values`, the service's part of the values;
`settings`, the service's own settings by the program's keys.
*/}}
{{- define "backpack-streams.environment" -}}
{{- $root := .root -}}
{{- $settings := dict -}}
{{- if has "kafka" .needs -}}
{{- $kafka := $root.Values.kafka -}}
{{- $_ := set $settings "bootstrap_servers" (include "backpack-streams.joined" $kafka.bootstrapServers) -}}
{{- $_ := set $settings "topic_prefix" $root.Values.topicPrefix -}}
{{- $_ := set $settings "client_id" (printf "%s-%s" (include "backpack-streams.fullname" $root) .component) -}}
{{- $_ := set $settings "security_protocol" $kafka.securityProtocol -}}
{{- if include "backpack-streams.usesSasl" $root -}}
{{- $_ := set $settings "sasl_mechanism" $kafka.saslMechanism -}}
{{- if and $kafka.username (not (include "backpack-streams.usesOauth" $root)) -}}
{{- $_ := set $settings "sasl_username" $kafka.username -}}
{{- end -}}
{{- end -}}
{{- if include "backpack-streams.usesTls" $root -}}
{{- $_ := set $settings "ssl_check_hostname" $kafka.checkHostname -}}
{{- end -}}
{{- end -}}
{{- if and (has "registry" .needs) $root.Values.schemaRegistry.url -}}
{{- $_ := set $settings "schema_registry_url" $root.Values.schemaRegistry.url -}}
{{- end -}}
{{- if has "exchange" .needs -}}
{{- with include "backpack-streams.wsUrl" $root -}}{{- $_ := set $settings "ws_url" . -}}{{- end -}}
{{- with include "backpack-streams.restUrl" $root -}}{{- $_ := set $settings "rest_url" . -}}{{- end -}}
{{- end -}}
{{- if not (has .component (list "sandbox" "doctor")) -}}
{{- $_ := set $settings "log_level" $root.Values.logLevel -}}
{{- $_ := set $settings "log_format" $root.Values.logFormat -}}
{{- end -}}
{{- range $name, $mount := include "backpack-streams.mounts" . | fromYaml -}}
{{- range $file, $key := $mount.files -}}
{{- $_ := set $settings (printf "%s_file" $file) (printf "/etc/backpack-streams/%s/%s" $name $file) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .settings -}}{{- $_ := set $settings $name $value -}}{{- end -}}
{{- $taken := get ($root.Files.Get "files/settings.json" | fromJson) .component | default list -}}
{{- range $name, $value := include "backpack-streams.config" (dict "root" $root "values" .values) | fromJson -}}
{{- if or (has $name $taken) (hasKey ($.values.config | default dict) $name) -}}{{- $_ := set $settings $name $value -}}{{- end -}}
{{- end -}}
{{- range $name, $value := $settings }}
{{- if not (kindIs "invalid" $value) }}
- name: BACKPACK_STREAMS_{{ upper $name }}
  value: {{ include "backpack-streams.settingText" $value | quote }}
{{- end }}
{{- end }}
{{- include "backpack-streams.secretEnvironment" . }}
{{- range concat $root.Values.extraEnv (.values.extraEnv | default list) }}
{{- if hasKey $settings (.name | trimPrefix "BACKPACK_STREAMS_" | lower) }}
{{- if hasPrefix "BACKPACK_STREAMS_" .name }}
{{- fail (printf "extraEnv names %s, which the chart sets itself: use the value that is for it, or config" .name) }}
{{- end }}
{{- end }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- end -}}

{{/* User names: the program cannot read them from files, so they come from the secret as variables. */}}
{{- define "backpack-streams.secretEnvironment" -}}
{{- $kafka := .root.Values.kafka -}}
{{- $registry := .root.Values.schemaRegistry -}}
{{- if and (has "kafka" .needs) (include "backpack-streams.usesSasl" .root) (not (include "backpack-streams.usesOauth" .root)) (not $kafka.username) }}
- name: BACKPACK_STREAMS_SASL_USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ $kafka.existingSecret }}
      key: {{ $kafka.secretKeys.username }}
{{- end }}
{{- if and (has "registry" .needs) $registry.url $registry.existingSecret $registry.secretKeys.username }}
- name: BACKPACK_STREAMS_SCHEMA_REGISTRY_USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ $registry.existingSecret }}
      key: {{ $registry.secretKeys.username }}
{{- end }}
{{- end -}}
